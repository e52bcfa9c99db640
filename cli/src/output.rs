//! What goes to standard output: tables for people, or JSON documents, one a
//! line, for programs. Everything else goes to standard error.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use lamplighter_domain::time::Moment;
use serde_json::{Value, json};

use crate::failure::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    Table,
    /// One JSON document, or one a line for many
    Json,
}

impl Format {
    pub(crate) fn is_json(self) -> bool {
        self == Self::Json
    }
}

/// Writes a line to standard output. A reader that went away (`| head`) is no
/// failure of ours.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a remark to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a document as one line; its fields are in alphabetical order.
pub(crate) fn document(document: &Value) {
    line(&canonical(document).to_string());
}

/// The same with its fields sorted: whether the map of `serde_json` sorts them
/// itself hangs on a feature that any other crate of a build may turn on.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields
                .iter()
                .map(|(name, value)| (name.clone(), canonical(value)))
                .collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

/// What failed, as a document; `about` are fields that say what it was about.
pub(crate) fn failure_document(about: &[(&str, &str)], failure: &Failure) -> Value {
    let mut document = json!({ "error": failure.json() });
    for (name, value) in about {
        document[*name] = Value::from(*value);
    }
    document
}

fn framed() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED.with_rounded_corners())
        .set_content_arrangement(ContentArrangement::Dynamic);
    // A terminal tells its width; who reads through a pipe may say one.
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    if let (false, Some(columns)) = (io::stdout().is_terminal(), columns) {
        table.set_width(columns);
    }
    table
}

fn bold(text: &str) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

/// A table with bold headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = framed();
    table.set_header(headings.iter().map(|text| bold(text)));
    table
}

/// What an object says: these fields first, then whatever else it has.
pub(crate) fn facts_of(object: &Value, first: &[&str]) -> Table {
    let fields = object.as_object().into_iter().flatten();
    let rest = fields
        .map(|(name, _)| name.as_str())
        .filter(|name| !first.contains(name));
    let names = first.iter().copied().chain(rest);
    let there = names.filter(|name| !object[*name].is_null());
    facts(there.map(|name| (name, plain(&object[name]))))
}

/// Two columns: a name and what it is.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = framed();
    for (name, value) in facts {
        table.add_row([bold(name), Cell::new(value)]);
    }
    table
}

/// Text in a colour, where a terminal shows it.
pub(crate) fn styled(text: &str, colour: Color, attribute: Attribute) -> String {
    if !io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match colour {
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Magenta => 35,
        Color::Cyan => 36,
        _ => 39,
    };
    let bold = if attribute == Attribute::Bold {
        "1;"
    } else {
        ""
    };
    format!("\u{1b}[{bold}{code}m{text}\u{1b}[0m")
}

/// Something that is as it should be.
pub(crate) fn good(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Green)
}

/// Something that is not.
pub(crate) fn bad(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Red)
}

/// Something that is not settled yet.
pub(crate) fn open(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Yellow)
}

/// How the names of moments end.
const TIMES: [&str; 4] = ["At", "After", "Before", "deadline"];

/// The same without what a person does not read: certificates whole, and
/// moments as milliseconds since 1970.
pub(crate) fn readable(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !name.ends_with("Pem"))
            .map(|(name, value)| match value.as_u64() {
                Some(millis) if TIMES.iter().any(|end| name.ends_with(end)) => {
                    (name.clone(), Value::from(Moment(millis).rfc3339()))
                }
                _ => (name.clone(), readable(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(readable).collect(),
        other => other.clone(),
    }
}

/// A JSON value as a person writes it: no quotes, lists and pairs by commas.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

/// A certificate id short enough for a table.
pub(crate) fn short(id: &str) -> String {
    if id.len() > 12 {
        format!("{}…", &id[..12])
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn documents_are_canonical() {
        let document: Value =
            serde_json::from_str(r#"{ "b": 1, "a": {"d": [ "x" ], "c": null} }"#).unwrap();
        assert_eq!(
            canonical(&document).to_string(),
            r#"{"a":{"c":null,"d":["x"]},"b":1}"#
        );
    }

    #[test]
    fn a_failure_is_a_document_too() {
        let mut failure = Failure::refused("csr", "RSA of 1024 bits", "Use P-256.");
        failure.status = Some(400);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            canonical(&failure_document(&[("thingName", "x")], &failure)).to_string(),
            r#"{"error":{"code":"Local","field":"csr","reason":"RSA of 1024 bits","remedy":"Use P-256.","status":400},"thingName":"x"}"#
        );
    }

    #[test]
    fn people_read_dates_and_no_certificates() {
        let read = readable(&json!({
            "createdAt": 0, "count": 0,
            "certificates": [{ "certificateId": "c", "certificatePem": "-----", "notAfter": 1000 }],
        }));
        assert_eq!(read["createdAt"], Moment(0).rfc3339());
        assert_eq!(read["count"], 0);
        let certificate = json!({ "certificateId": "c", "notAfter": Moment(1000).rfc3339() });
        assert_eq!(read["certificates"], json!([certificate]));
    }

    #[test]
    fn people_read_no_quotes() {
        for (value, text) in [
            (json!(null), ""),
            (json!("a"), "a"),
            (json!(["a", "b"]), "a, b"),
            (
                json!({"city": "milan", "wattage": "40"}),
                "city=milan, wattage=40",
            ),
            (json!(true), "true"),
        ] {
            assert_eq!(plain(&value), text);
        }
    }
}
