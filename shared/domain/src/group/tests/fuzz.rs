//! Queries that nobody would write: no panic, and nothing that does not read
//! back.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::*;

const BITS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    "*",
    "?",
    ":",
    "<",
    ">",
    "=",
    "-",
    "+",
    "&&",
    "||",
    "!",
    "~",
    "^",
    "/",
    ",",
    " ",
    "\u{3000}",
    "\u{a0}",
    "AND",
    "OR",
    "NOT",
    " TO ",
    "a",
    "0",
    ".",
    "é",
    "İ",
    "😀",
    "semver\"",
    "geo_distance,",
    "dynamicGroupNames:",
    "attributes.a:",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(Index, &'static str),
    Remove(Index),
    Repeat(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), select(BITS)).prop_map(|(at, bit)| Change::Insert(at, bit)),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Repeat),
    ]
}

fn apply(query: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = query.chars().collect();
    for change in changes {
        match change {
            Change::Insert(at, bit) => {
                let at = at.index(chars.len() + 1);
                chars.splice(at..at, bit.chars());
            }
            Change::Remove(at) if !chars.is_empty() => drop(chars.remove(at.index(chars.len()))),
            Change::Repeat(at) if !chars.is_empty() => {
                let at = at.index(chars.len());
                chars.extend_from_within(at..);
            }
            Change::Remove(_) | Change::Repeat(_) => {}
        }
    }
    chars.into_iter().collect()
}

fn queries() -> Vec<String> {
    serde_json::from_str::<Vec<Value>>(include_str!("../../../fixtures/group-queries.json"))
        .unwrap()
        .iter()
        .map(|case| case["query"].as_str().unwrap().to_owned())
        .collect()
}

fn check(query: &str) -> Result<(), TestCaseError> {
    let length = query.chars().count();
    match Query::parse(query, Language::Extended) {
        Ok(parsed) => {
            let printed = parsed.query.to_string();
            let again = Query::parse(&printed, Language::Extended)
                .map_err(|error| TestCaseError::fail(format!("{query} → {printed}: {error}")))?;
            prop_assert_eq!(again.query, parsed.query, "{} → {}", query, printed);
            prop_assert!(parsed.warnings.iter().all(|warning| warning.at <= length));
        }
        Err(error) => {
            prop_assert!(error.at <= length, "{query}: {error}");
            prop_assert!(error.pointing(query).ends_with('^'));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn changed_queries(query in select(queries()), changes in proptest::collection::vec(change(), 1..6)) {
        check(&apply(&query, &changes))?;
    }

    #[test]
    fn heaps_of_bits(bits in proptest::collection::vec(select(BITS), 0..40)) {
        check(&bits.concat())?;
    }
}
