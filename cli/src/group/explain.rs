//! `lamp group test --query`: whether a query holds for a device, and why.

use std::path::Path;

use lamplighter_domain::group::{Clause, Document, Language, Parsed, Query};
use lamplighter_domain::names::ThingName;
use serde_json::{Value, json};

use super::list::pages;
use super::read;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Reads a query, and points at what is wrong with it.
pub(super) fn parse(query: &str, language: Language) -> Result<Parsed, Failure> {
    let parsed = Query::parse(query, language).map_err(|error| {
        output::note(&error.pointing(query));
        error.into_failure("query")
    })?;
    for warning in &parsed.warnings {
        output::note(&format!("{}\nwarning: {warning}", warning.pointing(query)));
    }
    Ok(parsed)
}

pub(super) fn explain(parsed: &Parsed, document: &Document, format: Format) -> Exit {
    let explanation = parsed.query.explain(document);
    if format.is_json() {
        output::document(&json!({
            "query": parsed.query.to_string(),
            "result": explanation.result,
            "decidedBy": explanation.decided_by,
            "warnings": parsed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
    } else {
        show(&parsed.query, explanation.result, &explanation.decided_by);
    }
    Exit::Done
}

/// A device's document: of a file, or of the registry. `dynamicGroupNames` are
/// the groups that it is in at this moment.
pub(super) async fn document(
    device: &str,
    connect: impl AsyncFn() -> Result<Api, Failure>,
) -> Result<Document, Failure> {
    let file = Path::new(device);
    if file.exists() {
        let document: Value = serde_json::from_str(&read(file)?).map_err(|error| {
            Failure::usage(
                format!("{}: {error}", file.display()),
                "Give the device's document as one JSON object. It is read to 127 levels; AWS IoT \
                 allows a shadow 8.",
            )
        })?;
        return Ok(Document::from_json(&document)?);
    }
    if ThingName::parse(device).is_err() || file.extension().is_some_and(|e| e == "json") {
        return Err(Failure::usage(
            format!("{device}: there is no such file"),
            "Give the device's document as a JSON file: {\"thingName\": …, \"attributes\": {…}, \
             \"shadow\": {\"reported\": {…}}, …}; or the name of a device.",
        ));
    }
    let api = connect().await?;
    let call = Call::get(&["devices", device, "document"]);
    let mut document = api.send(call).await?.body;
    for shadow in document["staleShadows"].as_array().into_iter().flatten() {
        output::note(&format!(
            "warning: the newest state of {} is not in the registry's document: the device's \
             shadows are too large together",
            match output::plain(shadow).as_str() {
                "" => "the unnamed shadow".to_owned(),
                name => format!("the shadow {name}"),
            }
        ));
    }
    let groups = pages(&api, &["devices", device, "groups"], usize::MAX, |_| {}).await?;
    let names = groups.items.iter().map(|item| item["group"].clone());
    document["dynamicGroupNames"] = names.collect();
    Ok(Document::from_json(&document)?)
}

fn show(query: &Query, result: bool, decided_by: &[Clause]) {
    let holds = |holds: bool| {
        if holds {
            output::good("holds")
        } else {
            output::bad("does not hold")
        }
    };
    let mut table = output::table(&["decided by", "", "the device has"]);
    for clause in decided_by {
        let not = if clause.negated { "NOT " } else { "" };
        let seen = match clause.seen.as_slice() {
            [] => "nothing".to_owned(),
            seen => seen.join(", "),
        };
        table.add_row([
            format!("{not}{}", clause.clause).into(),
            holds(clause.result != clause.negated),
            seen.into(),
        ]);
    }
    output::line(&format!("{result}: {query}"));
    output::line(&table.to_string());
}
