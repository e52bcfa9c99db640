//! Where in the custody bucket a device's keys lie.

use crate::names::{OperationId, ThingName};

/// Where the key objects of a device lie, and no other device's: a thing's name
/// has no slash in it.
pub fn prefix(thing: &ThingName) -> String {
    format!("keys/{thing}/")
}

/// The object for the key that a creation or a rotation makes. It has one name
/// whoever takes the work up, so that a key that was stored is found again.
pub fn object(thing: &ThingName, made_by: &OperationId) -> String {
    format!("{}{made_by}.json", prefix(thing))
}
