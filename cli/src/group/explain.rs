//! `lamp group test --query`: whether a query holds for a device, and why.

use std::path::Path;

use lamplighter_domain::group::{Clause, Document, Language, Query};
use serde_json::{Value, json};

use super::read;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

pub(super) fn run(
    query: &str,
    device: &Path,
    language: Language,
    format: Format,
) -> Result<Exit, Failure> {
    let parsed = Query::parse(query, language).map_err(|error| {
        output::note(&error.pointing(query));
        error.into_failure("query")
    })?;
    for warning in &parsed.warnings {
        output::note(&format!("{}\nwarning: {warning}", warning.pointing(query)));
    }
    let explanation = parsed.query.explain(&document(device)?);
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
    Ok(Exit::Done)
}

fn document(file: &Path) -> Result<Document, Failure> {
    if !file.exists() {
        return Err(Failure::usage(
            format!("{}: there is no such file", file.display()),
            "Give the device's document as a JSON file: {\"thingName\": …, \"attributes\": {…}, \
             \"shadow\": {\"reported\": {…}}, …}.",
        ));
    }
    let document: Value = serde_json::from_str(&read(file)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), ""))?;
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
