//! Pages of what has a name, in the order of names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CountRow, MemberRow, MembershipRow};
use crate::building::Standing;
use crate::catalog::DefinitionRow;
use crate::failure::Failure;
use crate::listing::{USUAL, decoded, once, read_limit};
use crate::names::{GroupName, ThingName};

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameQuery {
    /// The largest page.
    pub limit: usize,
    /// Only what comes after this name.
    pub after: Option<String>,
    list: String,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    /// The list.
    #[serde(rename = "l")]
    list: String,
    /// The last name of the page before.
    #[serde(rename = "a")]
    after: String,
}

impl NameQuery {
    /// Reads a query string. A cursor holds for its own list only.
    pub fn parse(query: &str, list: &str) -> Result<Self, Failure> {
        let (mut limit, mut cursor) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "limit" => once(&name, &mut limit, read_limit(&value)?)?,
                "cursor" => once(&name, &mut cursor, value)?,
                _ => {
                    return Err(Failure::invalid(
                        &name,
                        format!("this list does not know {name}"),
                        "Use limit and cursor: an answer's nextCursor is the next request's cursor.",
                    ));
                }
            }
        }
        let after = cursor
            .map(|cursor| read_cursor(&cursor, list))
            .transpose()?;
        Ok(Self {
            limit: limit.unwrap_or(USUAL),
            after,
            list: list.to_owned(),
        })
    }

    /// The page out of what comes after the last one, which is in order and at
    /// least one longer than a page if there is more.
    fn page<T: Serialize>(&self, mut items: Vec<T>, name: impl Fn(&T) -> &str) -> Value {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let mut answer = json!({ "items": items });
        if let (true, Some(last)) = (more, items.last()) {
            let cursor = Cursor {
                list: self.list.clone(),
                after: name(last).to_owned(),
            };
            let text = serde_json::to_vec(&cursor).unwrap_or_default();
            answer["nextCursor"] = URL_SAFE_NO_PAD.encode(text).into();
        }
        answer
    }

    /// A page of members, out of what each partition has after the last page:
    /// one more than a page, or all.
    pub fn members(&self, mut found: Vec<MemberRow>) -> Value {
        found.sort_by(|a, b| a.thing_name.cmp(&b.thing_name));
        let shown = found.into_iter().map(MemberView::from).collect();
        self.page(shown, |member| member.thing_name.as_str())
    }

    /// A page of definitions, out of those after the last page, each with where
    /// it stands.
    pub fn definitions(
        &self,
        found: Vec<DefinitionRow>,
        standing: impl Fn(&DefinitionRow) -> Standing,
    ) -> Value {
        let shown = found.into_iter().map(|row| {
            let standing = standing(&row);
            GroupView::new(row, None, standing)
        });
        self.page(shown.collect(), GroupView::name)
    }

    /// A page of a device's groups, of those that are defined still: the others
    /// are being left.
    pub fn groups(
        &self,
        membership: Option<&MembershipRow>,
        is_defined: impl Fn(&GroupName) -> bool,
    ) -> Value {
        let groups = membership.into_iter().flat_map(|row| &row.groups);
        let after = |name: &GroupName| {
            let last = self.after.as_deref();
            last.is_none_or(|last| name.as_str() > last)
        };
        let saturated = |name: &GroupName| membership.is_some_and(|m| m.saturated.contains(name));
        let shown = groups
            .filter(|(name, _)| after(name) && is_defined(name))
            .map(|(name, since)| {
                let mut view = json!({ "group": name, "enteredAt": since });
                if saturated(name) {
                    view["materialization"] = "SATURATED".into();
                }
                view
            })
            .collect();
        self.page(shown, |view| view["group"].as_str().unwrap_or_default())
    }
}

/// One member of a group, as callers see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    thing_name: ThingName,
    entered_at: crate::time::Moment,
}

impl From<MemberRow> for MemberView {
    fn from(row: MemberRow) -> Self {
        Self {
            thing_name: row.thing_name,
            entered_at: row.entered_at,
        }
    }
}

/// A dynamic group, as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    #[serde(flatten)]
    definition: Value,
    revision: u64,
    /// Why nobody is in it, if its query cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid: Option<String>,
    #[serde(flatten)]
    standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u64>,
    #[serde(skip)]
    name: String,
}

impl GroupView {
    /// A definition, how many members its partitions have, and where it stands.
    pub fn new(row: DefinitionRow, counts: Option<&[CountRow]>, standing: Standing) -> Self {
        Self {
            name: row.definition.name.to_string(),
            // None that was put is so; one that was restored or written by hand
            // may be.
            invalid: row.definition.parsed().err().map(|why| why.to_string()),
            definition: json!(row.definition),
            revision: row.revision,
            standing,
            members: counts.map(|counts| counts.iter().map(|count| count.members).sum()),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The refusal of a name that no dynamic group has.
pub fn no_group(name: &GroupName) -> Failure {
    Failure::not_found(
        "groupName",
        format!("there is no dynamic group {name}"),
        "Check the name; static groups are in AWS IoT.",
    )
}

fn read_cursor(cursor: &str, list: &str) -> Result<String, Failure> {
    let read = URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice::<Cursor>(&json).ok());
    match read {
        Some(read) if read.list == list => Ok(read.after),
        _ => Err(Failure::invalid(
            "cursor",
            "it is no cursor of this list",
            "Send the nextCursor of the page before, or none.",
        )),
    }
}
