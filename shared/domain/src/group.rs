//! Dynamic groups: the query language, and which devices a query holds for.
//!
//! The language is AWS IoT's fleet indexing query syntax (Developer Guide,
//! "Query syntax", "Example thing queries", "Manage thing indexing"), over one
//! device's [`Document`]; where those are silent, the grammar is that of
//! Lucene's `StandardSyntaxParser`. What a string means here, it means in
//! `SearchIndex` and in a native dynamic group. Two extensions are read only
//! where a definition asks for [`Language::Extended`].
//!
//! A query is read once ([`Query::parse`]) and then asked many times:
//! [`Query::matches`] for one query and one document, [`matcher::Matcher`] for
//! all definitions and a document that changes.

mod check;
mod document;
mod explain;
mod glyph;
mod limits;
pub mod matcher;
mod parse;
mod pattern;
mod place;
mod print;
mod problem;
mod query;
mod scan;
mod value;
mod version;

#[cfg(test)]
mod tests;

pub use document::Document;
pub use explain::{Clause, Explanation};
pub use problem::{QueryError, Warning};
pub use query::{Language, Parsed, Query};
