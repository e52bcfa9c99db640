//! `lamp group put` and `delete`: one definition, and first who would move.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::{list, read};
use crate::api::{Api, Call};
use crate::catalog;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::progress;

/// How often a group that is being built is looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// Which definition.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The definition, a YAML or JSON file, as a catalog has it among its
    /// dynamicGroups
    #[arg(conflicts_with_all = ["query", "description", "materialize", "parent", "job", "beyond_aws"],
          required_unless_present_all = ["name", "query"])]
    file: Option<PathBuf>,
    /// The group's name
    #[arg(long)]
    name: Option<String>,
    /// Which devices are in it, in the language of fleet indexing
    #[arg(long)]
    query: Option<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// What AWS holds of it
    #[arg(long, value_parser = ["none", "static", "native"])]
    materialize: Option<String>,
    /// The dynamic group that its members have to be in too
    #[arg(long, value_name = "GROUP")]
    parent: Option<String>,
    /// The template of the job that a device gets when it enters
    #[arg(long, value_name = "TEMPLATE")]
    job: Option<String>,
    /// Let the query compare versions and ask for other dynamic groups, which
    /// AWS's own cannot
    #[arg(long)]
    beyond_aws: bool,
    /// Say who would enter and leave, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until every device has been asked; without, the exit code is 4
    /// while the group is being built
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Wait this many seconds at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

pub(super) async fn run(
    arguments: &Arguments,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let (name, definition) = definition(arguments)?;
    let api = connect().await?;
    let call = Call::put(&["groups", &name]).body(definition);
    if arguments.dry_run {
        return dry_run(&api, &call, format).await;
    }
    let mut group = api.send(call).await?.body;
    for warning in group["warnings"].as_array().into_iter().flatten() {
        output::note(&format!("warning: {}", output::plain(&warning["text"])));
    }
    if arguments.wait {
        group = wait(&api, &name, Duration::from_secs(arguments.timeout)).await?;
    }
    if format.is_json() {
        output::document(&group);
    } else {
        list::facts(&group);
    }
    Ok(list::exit(&group))
}

/// The group's name, and the rest of its definition.
fn definition(arguments: &Arguments) -> Result<(String, Value), Failure> {
    let Some(file) = &arguments.file else {
        return Ok((arguments.name.clone().unwrap_or_default(), given(arguments)));
    };
    let unusable = |why: String| {
        Failure::usage(
            format!("{}: {why}", file.display()),
            "Write {name: …, query: …}, as an entry of a catalog's dynamicGroups.",
        )
    };
    let read = catalog::parse(&read(file)?).map_err(|error| unusable(error.to_string()))?;
    let Value::Object(mut fields) = read else {
        return Err(unusable("it is no mapping".to_owned()));
    };
    let named = fields.remove("name");
    let name = arguments
        .name
        .clone()
        .or_else(|| named.as_ref()?.as_str().map(str::to_owned))
        .ok_or_else(|| unusable("it has no name".to_owned()))?;
    Ok((name, Value::Object(fields)))
}

fn given(arguments: &Arguments) -> Value {
    let mut definition = json!({ "query": arguments.query });
    for (field, value) in [
        ("description", &arguments.description),
        ("materialize", &arguments.materialize),
        ("parent", &arguments.parent),
    ] {
        if let Some(value) = value {
            definition[field] = value.as_str().into();
        }
    }
    if let Some(job) = &arguments.job {
        definition["onEnter"] = json!({ "job": job });
    }
    if arguments.beyond_aws {
        definition["semver"] = true.into();
    }
    definition
}

/// Asks until the whole fleet was looked at, and adds the pages up.
async fn dry_run(api: &Api, call: &Call, format: Format) -> Result<Exit, Failure> {
    let call = call.clone().query("dryRun", "true");
    let mut found = api.send(call.clone()).await?.body;
    let mut spinner = None;
    while let Some(cursor) = found["nextCursor"].as_str().map(str::to_owned) {
        let asked = found["asked"].as_u64().unwrap_or_default();
        let spinner = spinner.get_or_insert_with(|| progress::bar("asking", 0));
        spinner.set_position(asked);
        let next = api.send(call.clone().query("cursor", &cursor)).await?.body;
        found = added(&found, &next);
    }
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    if format.is_json() {
        output::document(&found);
    } else {
        show(&found);
    }
    Ok(Exit::Done)
}

/// Two pages as one: numbers are added, lists appended; the rest is the later
/// page's.
fn added(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_u64().unwrap_or_default() + b.as_u64().unwrap_or_default()).into()
        }
        (Value::Array(a), Value::Array(b)) => a.iter().chain(b).cloned().collect(),
        (Value::Object(a), Value::Object(b)) => {
            let mut sum = b.clone();
            for (name, value) in a {
                match b.get(name) {
                    Some(later) => drop(sum.insert(name.clone(), added(value, later))),
                    None if name == "nextCursor" => {}
                    None => drop(sum.insert(name.clone(), value.clone())),
                }
            }
            Value::Object(sum)
        }
        (_, later) => later.clone(),
    }
}

fn show(found: &Value) {
    /// So many names are shown.
    const SHOWN: usize = 10;
    let mut table = output::table(&["", "devices", "the first of them"]);
    for (what, field) in [("would enter", "entering"), ("would leave", "leaving")] {
        let names = found[field]["first"].as_array().into_iter().flatten();
        let names: Vec<_> = names.take(SHOWN).map(output::plain).collect();
        let count = output::plain(&found[field]["count"]);
        table.add_row([what.to_owned(), count, names.join(", ")]);
    }
    table.add_row([
        "would stay".to_owned(),
        output::plain(&found["staying"]),
        String::new(),
    ]);
    for (group, moves) in found["others"].as_object().into_iter().flatten() {
        let count = |field: &str| output::plain(&moves[field]);
        table.add_row([
            format!("and {group}"),
            format!("{} in, {} out", count("entering"), count("leaving")),
            String::new(),
        ]);
    }
    output::line(&table.to_string());
    output::note(&format!(
        "{} devices asked; nothing was changed",
        found["asked"]
    ));
    if found["unknown"] != 0 {
        output::note(&format!(
            "of {} nothing is known yet; they are looked at when the group is put",
            found["unknown"]
        ));
    }
}

/// Waits until a group is complete; as it is then, or when patience ends.
async fn wait(api: &Api, name: &str, patience: Duration) -> Result<Value, Failure> {
    let begun = Instant::now();
    let bar = progress::bar("building", 100);
    loop {
        let group = api.send(Call::get(&["groups", name])).await?.body;
        if list::exit(&group) == Exit::Done || begun.elapsed() > patience {
            bar.finish_and_clear();
            return Ok(group);
        }
        bar.set_position(group["progress"].as_u64().unwrap_or_default());
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) async fn delete(name: &str, api: &Api, format: Format) -> Result<Exit, Failure> {
    let removed = api.send(Call::delete(&["groups", name])).await?.body;
    if format.is_json() {
        output::document(&removed);
    } else {
        list::facts(&removed);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_dry_run_are_one() {
        let page = |first: &[&str], others: Value, cursor: Value| {
            let mut page = json!({
                "name": "old", "asked": 100, "entering": {"count": first.len(), "first": first},
                "others": others,
            });
            if !cursor.is_null() {
                page["nextCursor"] = cursor;
            }
            page
        };
        let moved = json!({"nested": {"entering": 1, "leaving": 0}});
        let sum = added(
            &page(&["a"], json!({}), json!("x")),
            &page(&["b", "c"], moved.clone(), json!("y")),
        );
        assert_eq!(sum["nextCursor"], "y");
        let sum = added(&sum, &page(&[], moved, Value::Null));
        assert_eq!(
            sum,
            json!({
                "name": "old", "asked": 300,
                "entering": {"count": 3, "first": ["a", "b", "c"]},
                "others": {"nested": {"entering": 2, "leaving": 0}},
            })
        );
    }
}
