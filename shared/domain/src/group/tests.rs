//! Tests of the language as a whole.

use super::*;

mod cases;
mod errors;
mod fuzz;
mod printing;
mod semantics;
mod warnings;

fn read(text: &str) -> Query {
    Query::parse(text, Language::Aws)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .query
}

fn read_extended(text: &str) -> Query {
    Query::parse(text, Language::Extended)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .query
}

fn document(json: &serde_json::Value) -> Document {
    Document::from_json(json).unwrap()
}
