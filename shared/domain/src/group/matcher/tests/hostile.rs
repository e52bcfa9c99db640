//! Definitions and documents that were made to take long.
//!
//! Nothing here measures time, which the domain cannot. With a matching that
//! backtracks, or that is quadratic in a document, these would not end.

use super::*;
use crate::group::Document;

fn matcher_of(queries: impl Iterator<Item = String>) -> Matcher {
    let definitions = queries.enumerate().map(|(n, text)| {
        (
            format!("g{n}"),
            Query::parse(&text, Language::Aws).unwrap().query,
        )
    });
    Matcher::of_queries(definitions).matcher
}

#[test]
fn patterns_that_nearly_match_a_long_word() {
    let word = "a".repeat(8000);
    let device = json!({ "shadow": { "reported": { "m": word } } });
    let document = Document::from_json(&device).unwrap();
    // The longest patterns there are: at the end of each stands what is not in
    // the word.
    let matcher = matcher_of((0..200).map(|n| {
        let run = "a".repeat(470 - n);
        format!("shadow.reported.m:a*{run}??{run}b*b")
    }));
    assert_eq!(matcher.session().members(&document).count(), 0);
    let matcher = matcher_of((0..40).map(|n| {
        let run = "a".repeat(75 - n);
        format!("*{run}?b*")
    }));
    assert_eq!(matcher.session().members(&document).count(), 0);
}

#[test]
fn every_term_a_pattern_and_every_field_searched() {
    let terms = |n: usize| {
        (0..12)
            .map(|term| {
                format!(
                    "{}{n}*{term}*",
                    char::from(b'a' + u8::try_from(term).unwrap())
                )
            })
            .collect::<Vec<_>>()
            .join(" OR ")
    };
    let matcher = matcher_of((0..2000).map(terms));
    let fields: Map<_, _> = (0..700)
        .map(|n| (format!("f{n}"), Value::from(format!("a{n}xx0x"))))
        .collect();
    let document = Document::from_json(&json!({ "shadow": { "reported": fields } })).unwrap();
    // a7*0* is in a7xx0x, in a70xx0x and so on: one group for each number that
    // begins a field's.
    assert_eq!(matcher.session().members(&document).count(), 700);
}

#[test]
fn a_document_nested_as_deep_as_its_bytes_go() {
    let mut value = json!("bottom");
    for _ in 0..1300 {
        value = json!({ "a": value });
    }
    let device = json!({ "shadow": { "reported": value } });
    let document = Document::from_json(&device).unwrap();
    let matcher = matcher_of(
        ["bottom", "shadow.reported.a.*:bottom", "a:*"]
            .into_iter()
            .map(str::to_owned),
    );
    assert_eq!(matcher.session().members(&document).count(), 2);
    // The document is dropped level by level, which takes no stack either.
    let mut value = device;
    while let Some(inner) = value
        .as_object_mut()
        .and_then(|fields| fields.values_mut().next())
    {
        value = inner.take();
    }
}

#[test]
fn a_long_array_in_another_order() {
    let array = |turn: usize| -> Document {
        let mut elements: Vec<_> = (0..1500).map(|n| n * 7 % 1500).collect();
        elements.rotate_left(turn);
        Document::from_json(&json!({ "shadow": { "reported": { "m": elements } } })).unwrap()
    };
    let matcher = matcher_of((0..3000).map(|n| format!("shadow.reported.m:[{n} TO {}]", n + 3)));
    let mut session = matcher.session();
    let (before, after) = (array(0), array(1));
    let mut members = session.members(&before);
    assert_eq!(members.count(), 1500);
    assert_eq!(session.change(&before, &after, &mut members).evaluated, 0);
}
