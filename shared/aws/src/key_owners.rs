//! Which device a public key belongs to, as items of other changes.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use lamplighter_domain::Failure;
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::device::KeyOwner;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use serde::Deserialize;

use crate::table::{self, Key, Table};

/// Whose a key may be already when it is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nobody's.
    Nobodys,
    /// Nobody's, or the claiming device's own.
    NobodysOrOurs,
}

/// Claims a key, on the condition that it is free.
pub(crate) fn claim(
    table: &Table,
    key: &PublicKeyId,
    owner: &KeyOwner,
    before: Before,
) -> Result<TransactWriteItem, Failure> {
    let put = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(&Key::owner(key), owner)?));
    let put = match before {
        Before::Nobodys => put.condition_expression("attribute_not_exists(PK)"),
        Before::NobodysOrOurs => put
            .condition_expression("attribute_not_exists(PK) OR thingName = :thing")
            .expression_attribute_values(":thing", table::attribute(&owner.thing_name)?),
    };
    table::put(put)
}

/// Frees a key that is certainly the device's.
pub(crate) fn free(table: &Table, key: &PublicKeyId) -> Result<TransactWriteItem, Failure> {
    let delete = Delete::builder()
        .table_name(&table.name)
        .set_key(Some(Key::owner(key).item()));
    table::delete(delete)
}

/// Keeps a key that was the device's, and whose certificate goes, from ever
/// being anybody's again: nobody knows who else has it by now.
pub(crate) fn retire(
    table: &Table,
    key: &PublicKeyId,
    now: Moment,
) -> Result<TransactWriteItem, Failure> {
    let mut item = Key::owner(key).item();
    item.insert("retiredAt".to_owned(), table::attribute(&now)?);
    let put = Put::builder().table_name(&table.name).set_item(Some(item));
    table::put(put)
}

/// Whether a key is on record as the device's.
pub(crate) async fn owns(
    table: &Table,
    name: &ThingName,
    key: &PublicKeyId,
) -> Result<bool, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Owner {
        // A retired key has none.
        thing_name: Option<ThingName>,
    }
    let owner: Option<Owner> = table.get(&Key::owner(key)).await?;
    Ok(owner.is_some_and(|owner| owner.thing_name.as_ref() == Some(name)))
}
