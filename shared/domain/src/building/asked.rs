//! `PUT` and `DELETE /groups/{groupName}`: one definition, outside catalogs.

use serde_json::{Map, Value};

use crate::catalog::{Definition, ItemKind, OwnedRow};
use crate::failure::Failure;
use crate::listing::{Filters, Position, decoded, once};
use crate::names::GroupName;
use crate::quote::quoted;

const REMEDY: &str = "Send {\"query\": …, \"description\"?, \"materialize\"?, \"onEnter\"?, \"parent\"?, \
                      \"semver\"?}.";

/// A request's query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutQuery {
    /// Only say who would enter and leave.
    pub dry_run: bool,
    /// Where that goes on in the listing.
    pub position: Position,
}

impl PutQuery {
    /// Reads a query string. A misspelt `dryRun` must not put anything.
    ///
    /// # Errors
    /// `Invalid` for what it does not know.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let everything = Filters::default();
        let (mut dry_run, mut position) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match (name, value.as_str()) {
                ("dryRun", "true" | "false") => once(name, &mut dry_run, value == "true")?,
                ("cursor", _) => once(name, &mut position, everything.position(&value)?)?,
                _ => {
                    return Err(Failure::invalid(
                        "query",
                        format!("{} is no query of this route", quoted(pair)),
                        "Use dryRun=true, and then cursor with the nextCursor of the page before.",
                    ));
                }
            }
        }
        Ok(Self {
            dry_run: dry_run.unwrap_or_default(),
            position: position.unwrap_or_default(),
        })
    }
}

/// Reads a definition; the path says its name.
///
/// # Errors
/// `Invalid` for what is no definition, or is one of another name.
pub fn read_definition(name: &GroupName, body: &[u8]) -> Result<Definition, Failure> {
    let wrong = |why: String| Failure::invalid("body", why, REMEDY);
    let mut fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    match fields.insert("name".to_owned(), name.as_str().into()) {
        Some(other) if other != name.as_str() => {
            return Err(Failure::invalid(
                "name",
                format!("the path says {name}, and the definition another name"),
                "Leave the name out, or send it to its own path.",
            ));
        }
        _ => {}
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| wrong(error.to_string()))
}

/// Refuses a change of what a catalog declares: the next apply would take it
/// back, or remove what it does not know.
///
/// # Errors
/// `Conflict`, which names the catalog.
pub fn refuse_owned(name: &GroupName, owned: &[OwnedRow]) -> Result<(), Failure> {
    let is_it = |row: &&OwnedRow| {
        row.owned.kind == ItemKind::DynamicGroup && row.owned.name == name.as_str()
    };
    match owned.iter().find(is_it) {
        None => Ok(()),
        Some(row) => Err(Failure::conflict(
            "groupName",
            format!("the catalog {} declares the group {name}", row.catalog),
            "Change the catalog, and apply it.",
        )),
    }
}
