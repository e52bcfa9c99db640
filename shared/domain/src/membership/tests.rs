//! How events change a document, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::catalog::Definition;
use crate::create::CreatePlan;
use crate::device::DeviceRecord;
use crate::request::CreateRequest;

mod messages;
mod moving;
mod shuffled;

pub(super) fn record(name: &str) -> DeviceRecord {
    let body = json!({ "thingName": name }).to_string();
    let request = CreateRequest::parse(body.as_bytes(), None).unwrap().0;
    CreatePlan::new(OperationId::from_random([7; 16]), request).claimed(Moment(1_000_000))
}

/// A document of a thing with this id and version.
pub(super) fn known(id: &str, version: u64) -> DocumentRow {
    let mut row = DocumentRow::begin(&record("milan-1"));
    row.observed(Observation {
        thing: Some(Some(thing(id, version, "60"))),
        groups: Some(BTreeSet::from(["milan".to_owned()])),
        shadows: BTreeMap::new(),
    });
    row.version = 1;
    row
}

pub(super) fn thing(id: &str, version: u64, wattage: &str) -> Thing {
    Thing {
        id: id.to_owned(),
        version,
        attributes: [("wattage".to_owned(), wattage.to_owned())].into(),
        ..Thing::default()
    }
}

/// A message as the rules put it into the queue.
pub(super) fn event(topic: &str, mut payload: Value) -> Event {
    payload["topic"] = topic.into();
    let message = Message::parse(&payload.to_string()).unwrap();
    message.expect("a device's").event
}

pub(super) fn definitions(version: u64, all: &[(&str, &str, &str)]) -> Definitions {
    let read = |(name, query, materialize): &(&str, &str, &str)| {
        let declared = json!({"name": name, "query": query, "materialize": materialize});
        serde_json::from_value::<Definition>(declared).unwrap()
    };
    Definitions::compile(version, all.iter().map(read))
}

fn updated(id: &str, version: u64, wattage: &str) -> Event {
    event(
        "$aws/events/thing/milan-1/updated",
        json!({"thingId": id, "versionNumber": version, "attributes": {"wattage": wattage}}),
    )
}

fn shadow(version: u64, at: u64, brightness: u64) -> Event {
    event(
        "$aws/things/milan-1/shadow/update/documents",
        json!({"state": {"reported": {"brightness": brightness}}, "version": version, "timestamp": at}),
    )
}

fn shadow_deleted(version: u64, at: u64) -> Event {
    event(
        "$aws/things/milan-1/shadow/delete/accepted",
        json!({"version": version, "timestamp": at}),
    )
}

/// What queries see at the end, at one pointer of it.
#[track_caller]
fn check(events: Vec<Event>, pointer: &str, expected: Option<Value>) {
    let mut row = known("a", 5);
    for event in events {
        row.take(event).unwrap();
    }
    let seen = row.json(|_| false);
    let found = seen.as_ref().and_then(|json| json.pointer(pointer));
    assert_eq!(found, expected.as_ref(), "{row:?}");
}

#[test]
fn a_stale_event_changes_nothing() {
    let wattage = |of: &str| Some(json!(of));
    let at = "/attributes/wattage";
    check(vec![updated("a", 6, "80")], at, wattage("80"));
    check(vec![updated("a", 5, "80")], at, wattage("60"));
    check(
        vec![updated("a", 7, "90"), updated("a", 6, "80")],
        at,
        wattage("90"),
    );
    check(vec![updated("b", 9, "80")], at, wattage("60"));
    let gone = || {
        event(
            "$aws/events/thing/milan-1/deleted",
            json!({"thingId": "a", "versionNumber": 6}),
        )
    };
    check(vec![gone()], at, None);
    check(vec![gone(), updated("a", 7, "80")], at, None);
    let at = "/shadow/reported/brightness";
    check(vec![shadow(3, 2000, 30)], at, Some(json!(30)));
    check(
        vec![shadow(3, 2000, 30), shadow(2, 2000, 20)],
        at,
        Some(json!(30)),
    );
    check(
        vec![shadow(3, 2000, 30), shadow(3, 2000, 20)],
        at,
        Some(json!(30)),
    );
    // Before the device was created, there was another one of its name.
    check(vec![shadow(9, 999, 90)], at, None);
    check(vec![shadow(3, 2000, 30), shadow_deleted(3, 2001)], at, None);
    check(vec![shadow_deleted(3, 2001), shadow(3, 2000, 30)], at, None);
    check(
        vec![shadow_deleted(3, 2001), shadow(4, 2002, 40)],
        at,
        Some(json!(40)),
    );
    // Two days after its deletion a shadow's version begins anew.
    let later = 2001 + 48 * 3600;
    check(
        vec![shadow_deleted(3, 2001), shadow(1, later, 10)],
        at,
        None,
    );
    check(
        vec![shadow_deleted(3, 2001), shadow(1, later + 1, 10)],
        at,
        Some(json!(10)),
    );
    let connected = |session: &str, at: u64| {
        event(
            "$aws/events/presence/connected/milan-1",
            json!({"sessionIdentifier": session, "timestamp": at}),
        )
    };
    let at = "/connectivity/connected";
    check(vec![], at, Some(json!(false)));
    check(vec![connected("s", 1_000_000)], at, Some(json!(true)));
    check(vec![connected("s", 999_999)], at, Some(json!(false)));
}

#[test]
fn shadows_are_seen_as_an_index_sees_them() {
    let named = |state: Value| {
        event(
            "$aws/things/milan-1/shadow/name/cfg/update/documents",
            json!({"state": state, "version": 1, "timestamp": 2000}),
        )
    };
    let state = json!({
        "desired": {"a": 1, "b": {"c": 1, "d": [1, 2]}, "e": 5},
        "reported": {"a": 1, "b": {"c": 2, "d": [1]}}, "delta": "theirs", "more": 1,
    });
    check(
        vec![named(state.clone())],
        "/shadow/name/cfg/delta",
        Some(json!({"b": {"c": 1, "d": [1, 2]}, "e": 5})),
    );
    check(
        vec![named(state.clone())],
        "/shadow/name/cfg/hasDelta",
        Some(json!(true)),
    );
    check(vec![named(state)], "/shadow/name/cfg/more", None);
    let same = json!({"desired": {"a": {"b": 1}}, "reported": {"a": {"b": 1, "c": 2}}});
    check(
        vec![named(same)],
        "/shadow/name/cfg/hasDelta",
        Some(json!(false)),
    );
}

#[test]
fn what_has_no_order_of_its_own_is_looked_at() {
    let all = Wanted {
        thing: true,
        groups: true,
        shadows: true,
    };
    let none = Wanted::default();
    let of = |events: &[Event]| known("a", 5).wanted(events);
    assert_eq!(DocumentRow::begin(&record("milan-1")).wanted(&[]), all);
    assert_eq!(of(&[]), none);
    assert_eq!(of(&[updated("a", 6, "1"), shadow(1, 2000, 1)]), none);
    assert_eq!(of(&[updated("b", 1, "1")]), all);
    assert_eq!(
        of(&[Event::Groups]),
        Wanted {
            groups: true,
            ..none
        }
    );
    assert_eq!(
        of(&[Event::ThingType]),
        Wanted {
            thing: true,
            ..none
        }
    );
    assert_eq!(
        of(&[Event::Device]),
        Wanted {
            shadows: false,
            ..all
        }
    );
}

#[test]
fn the_last_look_stands() {
    let mut row = known("a", 5);
    row.take(shadow(3, 2000, 30)).unwrap();
    let looked = |row: &DocumentRow, thing: Option<Thing>| {
        let mut row = row.clone();
        row.observed(Observation {
            thing: Some(thing),
            ..Observation::default()
        });
        row.json(|_| false)
    };
    let wattage = |seen: &Option<Value>| seen.as_ref().map(|s| s["attributes"]["wattage"].clone());
    assert_eq!(
        wattage(&looked(&row, Some(thing("a", 4, "40")))),
        Some(json!("60"))
    );
    assert_eq!(
        wattage(&looked(&row, Some(thing("a", 5, "50")))),
        Some(json!("50"))
    );
    assert_eq!(looked(&row, None), None);
    let other = looked(&row, Some(thing("b", 1, "10")));
    assert_eq!(wattage(&other), Some(json!("10")));
    assert_eq!(other.unwrap()["shadow"]["reported"], Value::Null);
}

#[test]
fn a_hostile_shadow_is_refused_and_the_rest_goes_on() {
    let mut row = known("a", 5);
    let big = |name: usize| {
        let state = json!({"reported": {"x": "y".repeat(30_000)}});
        let topic = format!("$aws/things/milan-1/shadow/name/n{name}/update/documents");
        event(
            &topic,
            json!({"state": state, "version": 1, "timestamp": 2000}),
        )
    };
    let taken = (0..20).filter(|name| row.take(big(*name)).is_ok()).count();
    assert_eq!(taken, 8);
    let stale = |row: &DocumentRow| row.json(|_| false).unwrap()["staleShadows"].clone();
    let refused: BTreeSet<_> = (8..20).map(|name| format!("n{name}")).collect();
    assert_eq!(stale(&row), json!(refused));
    // What is there already may still change.
    let again = event(
        "$aws/things/milan-1/shadow/name/n0/update/documents",
        json!({"state": {"reported": {"x": 1}}, "version": 2, "timestamp": 2000}),
    );
    row.take(again).unwrap();
    row.take(big(9)).unwrap();
    assert_eq!(
        stale(&row),
        json!(
            refused
                .iter()
                .filter(|name| *name != "n9")
                .collect::<Vec<_>>()
        )
    );
    assert_eq!(
        row.json(|_| false).unwrap()["shadow"]["name"]["n0"]["reported"]["x"],
        1
    );
    (100..200).for_each(|name| assert!(row.take(big(name)).is_err()));
    let row = serde_json::to_vec(&row).unwrap();
    assert!(row.len() < 300_000, "{}", row.len());
}

#[test]
fn groups_of_awss_own_queries_are_no_static_ones() {
    let mut row = known("a", 5);
    row.groups.insert("theirs".to_owned());
    let seen = row.json(|name| name == "theirs").unwrap();
    assert_eq!(seen["thingGroupNames"], json!(["milan"]));
}

#[test]
fn a_bad_definition_is_skipped_and_the_others_go_on() {
    let all = definitions(
        3,
        &[
            ("good", "attributes.wattage:60", "none"),
            ("bad", "attributes.wattage:(", "none"),
            ("self", "NOT thingGroupNames:self", "static"),
            ("other", "NOT thingGroupNames:other", "none"),
            ("ping", "thingGroupNames:pong", "static"),
            ("pong", "thingGroupNames:p*", "static"),
            ("all", "*", "static"),
        ],
    );
    let mut refused: Vec<_> = all.refused.iter().map(|(name, _)| name.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["bad", "ping", "pong", "self"]);
    let found = evaluate(&all, None, known("a", 5), Moment(9)).unwrap();
    let groups: Vec<_> = found.membership.unwrap().groups.into_keys().collect();
    assert_eq!(
        groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
        ["all", "good", "other"]
    );
}

#[test]
fn older_definitions_do_not_judge_what_later_ones_found() {
    let old = definitions(3, &[("g", "*", "none")]);
    let new = definitions(4, &[("g", "attributes.wattage:60", "none")]);
    let first = evaluate(&new, None, known("a", 5), Moment(9)).unwrap();
    let stored = Stored {
        document: first.document.unwrap(),
        membership: first.membership.unwrap(),
    };
    assert_eq!(stored.document.definitions_version, 4);
    assert_eq!(
        evaluate(&old, Some(&stored), stored.document.clone(), Moment(9)),
        None
    );
    // The same again is nothing to write.
    let again = evaluate(&new, Some(&stored), stored.document.clone(), Moment(10)).unwrap();
    assert_eq!((again.document, again.membership), (None, None));
    // What leaves the groups as they are is the document's alone.
    let mut after = stored.document.clone();
    after.take(shadow(1, 2000, 1)).unwrap();
    let found = evaluate(&new, Some(&stored), after, Moment(10)).unwrap();
    assert_eq!(found.document.unwrap().version, stored.document.version + 1);
    assert_eq!(found.membership, None);
}
