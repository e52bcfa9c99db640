//! The matcher against the plain evaluation of every definition.

use serde_json::{Map, Value, json};

use super::*;
use crate::group::Document;

mod hostile;

/// A small generator of our own: the same numbers every time (Marsaglia's
/// xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

const FIELDS: &[&str] = &[
    "thingName",
    "thingGroupNames",
    "attributes.a",
    "attributes.b",
    "attributes.c.d",
    "shadow.reported.x",
    "shadow.reported.y.z",
    "shadow.reported.place",
    "shadow.name.cfg.reported.x",
    "connectivity.connected",
];

const OPERANDS: &[&str] = &[
    "milan",
    "MILAN",
    "mil*",
    "m*n",
    "*lan",
    "*ila*",
    "m?lan",
    "?????",
    "*?1*",
    "1*",
    "true",
    "*",
    "\"new york\"",
    "york",
    "\"york new\"",
    "new\\ york",
    "75",
    "1.1",
    "1.10",
    "-",
    "8",
    "x",
    "[1 TO 9]",
    "{1 TO 75]",
    "[75 TO *]",
    "[* TO 5}",
    "[5 TO 5]",
    "{5 TO 5}",
    "[-10 TO 0]",
    "[\"a\" TO \"n\"]",
    "{\"milan\" TO *]",
    "[* TO \"1.9\"}",
    "[new TO new]",
    "[1 TO \"9\"]",
    "<8",
    "<=75",
    ">1.05",
    ">=\"m\"",
    "<\"york\"",
    "<semver\"1.10.0\"",
    ">=semver\"1.10\"",
    "semver\"1.10\"",
    "geo_distance,1,1,200km",
    "\"\"",
    "é*",
    "東?",
    "\\*",
];

const VALUES: &[&str] = &[
    "\"milan\"",
    "\"Milano\"",
    "\"rome\"",
    "\"new york\"",
    "\"york new\"",
    "\"New York City\"",
    "\"1.10\"",
    "\"1.9\"",
    "\"1.10.0\"",
    "\"1.9.0\"",
    "\"v2\"",
    "\"007\"",
    "\"75\"",
    "\"8\"",
    "\"\"",
    "\"*\"",
    "\"École\"",
    "\"東京\"",
    "\"x\"",
    "\"1,1\"",
    "75",
    "75.0",
    "5",
    "-3",
    "0",
    "8.5",
    "1e3",
    "true",
    "false",
    "null",
    "[1, 5]",
    "[5, 1, 80]",
    "[\"new\", \"york\"]",
    "[\"york new\", 7]",
    "[1, {}]",
    "[]",
    "{\"z\": 4}",
    "{\"lat\": 1, \"lon\": 1.5}",
    "{\"lat\": 40, \"lon\": 1}",
];

/// One term; `-` stands for a nested one, of a definition before this.
fn term(dice: &mut Dice, definition: usize) -> String {
    let operand = dice.pick(OPERANDS);
    let field = match dice.roll(12) {
        0 => "attributes.*",
        1 => "*.x",
        _ => dice.pick(FIELDS),
    };
    match operand {
        "-" if definition > 0 => format!("dynamicGroupNames:g{}", dice.roll(definition)),
        "-" => "*".to_owned(),
        place if place.starts_with("geo") => format!("shadow.reported.place:{place}"),
        // A word, and no field.
        word if dice.roll(6) == 0 && !word.starts_with(['<', '>', 's']) => word.to_owned(),
        operand => format!("{field}:{operand}"),
    }
}

fn expression(dice: &mut Dice, definition: usize, depth: usize) -> String {
    match dice.roll(if depth == 0 { 3 } else { 8 }) {
        0..=2 => term(dice, definition),
        3 => format!("NOT ({})", expression(dice, definition, depth - 1)),
        4 | 5 => format!(
            "({} AND {})",
            expression(dice, definition, depth - 1),
            expression(dice, definition, depth - 1)
        ),
        _ => format!(
            "({} OR {})",
            expression(dice, definition, depth - 1),
            expression(dice, definition, depth - 1)
        ),
    }
}

/// Definitions by name, in the order in which they nest.
fn definitions(dice: &mut Dice, count: usize) -> Vec<(String, Query)> {
    let mut definitions = Vec::new();
    while definitions.len() < count {
        let text = expression(dice, definitions.len(), 3);
        // Some have too many wildcards to be read.
        if let Ok(parsed) = Query::parse(&text, Language::Extended) {
            definitions.push((format!("g{}", definitions.len()), parsed.query));
        }
    }
    definitions
}

/// Changes the document at one place.
fn mutate(dice: &mut Dice, device: &mut Value) {
    let path = dice.pick(FIELDS);
    let value = serde_json::from_str(dice.pick(VALUES)).unwrap();
    let mut parts: Vec<_> = path.split('.').collect();
    let last = parts.pop().unwrap();
    let mut place = device;
    for part in parts {
        if !place[part].is_object() {
            place[part] = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    if dice.roll(5) == 0 {
        place.as_object_mut().unwrap().remove(last);
    } else {
        place[last] = value;
    }
}

/// Every definition asked of the device, plainly and one after the other.
fn naive<'a>(definitions: &'a [(String, Query)], document: &Document) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, query) in definitions {
        let holds = if query.language() == Language::Aws {
            query.matches(document)
        } else {
            let nested = document.clone().with_dynamic_groups(names.iter().copied());
            query.matches(&nested)
        };
        if holds {
            names.push(name);
        }
    }
    names.sort_unstable();
    names
}

/// Invariant 7, for one device: after every change, what is stored is what
/// brute force finds, and what was announced adds up to it.
fn walk(seed: u64, count: usize, steps: usize) {
    let mut dice = Dice(seed);
    let definitions = definitions(&mut dice, count);
    let compiled = Matcher::of_queries(definitions.clone());
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    let matcher = compiled.matcher;
    let mut session = matcher.session();
    let mut device = json!({ "thingName": "x" });
    let mut before = Document::from_json(&device).unwrap();
    let mut members = session.members(&before);
    let mut announced: std::collections::BTreeSet<_> = matcher.names_of(&members).collect();
    for step in 0..steps {
        for _ in 0..=dice.roll(3) {
            mutate(&mut dice, &mut device);
        }
        let after = Document::from_json(&device).unwrap();
        let change = session.change(&before, &after, &mut members);
        let expected = naive(&definitions, &after);
        let found: Vec<_> = matcher.names_of(&members).collect();
        assert_eq!(found, expected, "seed {seed}, step {step}: {device}");
        for name in change.entered {
            assert!(announced.insert(name), "{name} was entered twice");
        }
        for name in change.left {
            assert!(announced.remove(name), "{name} was left twice");
        }
        assert!(announced.iter().eq(&found), "seed {seed}, step {step}");
        if step % 50 == 0 {
            assert_eq!(session.members(&after), members, "seed {seed}, step {step}");
            assert_eq!(matcher.members_named(found), members);
        }
        before = after;
    }
}

#[test]
fn incremental_equals_naive() {
    // 100,000 changes.
    for seed in 1..=250 {
        walk(seed * 0x9E37_79B9_7F4A_7C15, 30, 400);
    }
}

#[test]
fn a_change_that_touches_nothing_evaluates_nothing() {
    let many: Vec<_> = (0..1000)
        .map(|n| {
            let text = format!("attributes.n:{n} AND (attributes.m>{n} OR NOT thingName:{n}*)");
            (
                format!("g{n}"),
                Query::parse(&text, Language::Aws).unwrap().query,
            )
        })
        .collect();
    let matcher = Matcher::of_queries(many).matcher;
    let mut session = matcher.session();
    let of = |n: usize, m: usize, other: &str| {
        Document::from_json(
            &json!({ "attributes": { "n": n, "m": m, "o": other }, "thingName": "x" }),
        )
        .unwrap()
    };
    let mut members = session.members(&of(7, 9, ""));
    let mut evaluated =
        |before: &Document, after: &Document| session.change(before, after, &mut members).evaluated;
    assert_eq!(evaluated(&of(7, 9, ""), &of(7, 9, "other")), 0);
    assert_eq!(evaluated(&of(7, 9, "other"), &of(8, 9, "other")), 2);
    assert_eq!(evaluated(&of(8, 9, "other"), &of(8, 12, "other")), 3);
}

#[test]
fn a_bad_definition_is_refused_and_the_others_go_on() {
    let compiled = Matcher::compile([
        ("good", "attributes.city:milan", Language::Aws),
        ("bad", "attributes.city:milan AND", Language::Aws),
        ("twice", "a", Language::Aws),
        ("twice", "b", Language::Aws),
        ("itself", "NOT dynamicGroupNames:itself", Language::Extended),
        ("left", "dynamicGroupNames:ri*", Language::Extended),
        ("right", "dynamicGroupNames:left", Language::Extended),
        (
            "outer",
            "dynamicGroupNames:good AND thingName:x",
            Language::Extended,
        ),
        ("beyond", "attributes.fw<semver\"2\"", Language::Aws),
    ]);
    let refused: Vec<_> = compiled
        .refused
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        refused,
        ["twice", "itself", "left", "right", "bad", "beyond"]
    );
    assert_eq!(compiled.matcher.names(), ["good", "outer", "twice"]);
    let document =
        Document::from_json(&json!({ "thingName": "x", "attributes": { "city": "milan" } }))
            .unwrap();
    let members = compiled.matcher.session().members(&document);
    assert!(compiled.matcher.names_of(&members).eq(["good", "outer"]));
    assert_eq!(members.count(), 2);
}

#[test]
fn what_is_true_of_nothing_is_a_member_from_the_start() {
    let compiled = Matcher::compile([
        ("all", "*", Language::Aws),
        ("without", "NOT attributes.a:*", Language::Aws),
        ("nested", "dynamicGroupNames:without", Language::Extended),
    ]);
    let matcher = compiled.matcher;
    let mut session = matcher.session();
    let nothing = Document::default();
    let some = Document::from_json(&json!({ "attributes": { "a": "1" } })).unwrap();
    let mut members = session.members(&nothing);
    assert!(matcher.names_of(&members).eq(["all", "nested", "without"]));
    let change = session.change(&nothing, &some, &mut members);
    assert_eq!(change.left, ["nested", "without"]);
    let change = session.change(&some, &nothing, &mut members);
    assert_eq!(change.entered, ["nested", "without"]);
}
