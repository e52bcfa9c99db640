//! `lamp group list`, `show` and `members`: from the registry.

use clap::Args;
use comfy_table::Cell;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The largest page asked for.
const PAGE: usize = 100;

/// Which members.
#[derive(Debug, Args)]
pub(crate) struct Members {
    /// The group's name
    name: String,
    /// How many members at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// All pages of a list, and what its last page says besides.
pub(super) struct Pages {
    pub(super) items: Vec<Value>,
    pub(super) last: Value,
}

/// Reads a list page by page, `most` items of it; `each` sees them as they come.
pub(super) async fn pages(
    api: &Api,
    path: &[&str],
    most: usize,
    mut each: impl FnMut(&Value),
) -> Result<Pages, Failure> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let wanted = (most - items.len()).min(PAGE);
        let call = Call::get(path).query("limit", &wanted.max(1).to_string());
        let call = cursor
            .iter()
            .fold(call, |call, cursor| call.query("cursor", cursor));
        let mut last = api.send(call).await?.body;
        if let Value::Array(found) = last["items"].take() {
            let found = found.into_iter().take(wanted);
            items.extend(found.inspect(&mut each));
        }
        cursor = last["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() || items.len() >= most {
            return Ok(Pages { items, last });
        }
    }
}

pub(super) async fn all(api: &Api, format: Format) -> Result<Exit, Failure> {
    let as_they_come = |group: &Value| {
        if format.is_json() {
            output::document(group);
        }
    };
    let groups = pages(api, &["groups"], usize::MAX, as_they_come)
        .await?
        .items;
    if !format.is_json() {
        let mut table = output::table(&["group", "status", "query", "materialized", "parent"]);
        for group in &groups {
            table.add_row([
                output::plain(&group["name"]).into(),
                status(group),
                output::plain(&group["query"]).into(),
                output::plain(&group["materialize"]).into(),
                output::plain(&group["parent"]).into(),
            ]);
        }
        output::line(&table.to_string());
        output::note(&format!("{} dynamic groups", groups.len()));
    }
    Ok(Exit::Done)
}

/// Whether a group is complete, or how far it is; or that its query cannot be read.
fn status(group: &Value) -> Cell {
    if !group["invalid"].is_null() {
        return output::bad("INVALID");
    }
    match group["progress"].as_u64() {
        None if group["status"] == "ACTIVE" => output::good("ACTIVE"),
        None => output::open(output::plain(&group["status"])),
        Some(percent) => output::open(format!("BUILDING {percent} %")),
    }
}

/// Shows a group. One that is not complete yet is pending; one that cannot be
/// evaluated is failed.
pub(super) async fn show(name: &str, api: &Api, format: Format) -> Result<Exit, Failure> {
    let group = api.send(Call::get(&["groups", name])).await?.body;
    if format.is_json() {
        output::document(&group);
    } else {
        facts(&group);
    }
    Ok(exit(&group))
}

pub(super) fn exit(group: &Value) -> Exit {
    if !group["invalid"].is_null() {
        Exit::Failed
    } else if group["status"] == "ACTIVE" {
        Exit::Done
    } else {
        Exit::Pending
    }
}

/// A group as a person reads it: first what it is, then whatever else is known.
pub(super) fn facts(group: &Value) {
    let first = ["name", "status", "members", "query", "invalid"];
    // What else an answer to a change has is for programs, or told already.
    let untold = ["progress", "since", "changed", "warnings"];
    let fields = group.as_object().into_iter().flatten();
    let rest = fields
        .map(|(name, _)| name.as_str())
        .filter(|name| !first.contains(name) && !untold.contains(name));
    let facts = first.into_iter().chain(rest).filter_map(|name| {
        let text = match (name, group["progress"].as_u64()) {
            ("status", _) if !group["invalid"].is_null() => "INVALID".to_owned(),
            ("status", Some(percent)) => format!("BUILDING, {percent} % of the devices asked"),
            _ => output::plain(&group[name]),
        };
        (!text.is_empty()).then_some((name, text))
    });
    output::line(&output::facts(facts).to_string());
}

pub(super) async fn members(
    arguments: &Members,
    api: &Api,
    format: Format,
) -> Result<Exit, Failure> {
    let as_they_come = |member: &Value| {
        if format.is_json() {
            output::document(member);
        }
    };
    let path = ["groups", arguments.name.as_str(), "members"];
    let most = arguments.limit.unwrap_or(usize::MAX);
    let found = pages(api, &path, most, as_they_come).await?;
    if !format.is_json() {
        let mut table = output::table(&["member", "since"]);
        for member in &found.items {
            let member = output::readable(member);
            table.add_row([
                output::plain(&member["thingName"]),
                output::plain(&member["enteredAt"]),
            ]);
        }
        output::line(&table.to_string());
        output::note(&format!("{} members", found.items.len()));
    }
    if exit(&found.last) == Exit::Pending {
        output::note("The group is BUILDING: others may be in it, and some of these leave it.");
    }
    Ok(exit(&found.last))
}

pub(super) async fn of_device(thing: &str, api: &Api, format: Format) -> Result<Exit, Failure> {
    let as_they_come = |group: &Value| {
        if format.is_json() {
            output::document(group);
        }
    };
    let path = ["devices", thing, "groups"];
    let found = pages(api, &path, usize::MAX, as_they_come).await?.items;
    if !format.is_json() {
        let mut table = output::table(&["group", "since", "static group in AWS"]);
        for group in &found {
            let group = output::readable(group);
            table.add_row([
                output::plain(&group["group"]).into(),
                output::plain(&group["enteredAt"]).into(),
                match group["materialization"].as_str() {
                    Some(how) => output::bad(how),
                    None => Cell::new(""),
                },
            ]);
        }
        output::line(&table.to_string());
        output::note(&format!("{} dynamic groups", found.len()));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_that_is_not_complete_is_pending() {
        for (group, code) in [
            (json!({"status": "ACTIVE"}), 0),
            (json!({"status": "BUILDING", "progress": 40}), 4),
            (json!({}), 4),
            (json!({"status": "ACTIVE", "invalid": "character 3: …"}), 1),
        ] {
            assert_eq!(exit(&group).code(), code, "{group}");
        }
    }

    #[test]
    fn progress_is_shown_in_percent() {
        let building = status(&json!({"status": "BUILDING", "progress": 40}));
        assert_eq!(building.content(), "BUILDING 40 %");
        assert_eq!(status(&json!({"status": "ACTIVE"})).content(), "ACTIVE");
    }
}
