//! What queries mean, beyond what the cases show.

use serde_json::{Value, json};

use super::*;

fn check(query: &str, device: &Value, holds: bool) {
    assert_eq!(
        read_extended(query).matches(&document(device)),
        holds,
        "{query} of {device}"
    );
}

fn reported(state: Value) -> Value {
    json!({ "thingName": "x", "shadow": { "reported": state } })
}

#[test]
fn what_is_a_field_of_the_document() {
    let device = json!({
        "thingName": "lamp-1", "thingId": "id-1", "thingTypeName": "light",
        "thingGroupNames": ["milan"], "billingGroupName": "acct", "version": 3,
        "attributes": { "a.b": "1", "n": 7 },
        "shadow": {
            "version": 9, "timestamp": 5, "hasDelta": true, "reported": { "a": { "b.c": "v" } },
            "desired": {}, "metadata": { "reported": { "a": { "timestamp": 44 } } },
            "name": { "cfg": { "version": 4, "reported": { "deep": [[1]], "list": [1, null] } } },
        },
        "connectivity": { "connected": true, "version": 8 },
        "deviceDefender": { "violationCount": 2 },
        "unknown": "word",
    });
    for query in [
        "thingId:id-1",
        "thingGroupNames:acct",
        "attributes.a.b:1",
        "attributes.n>6",
        "shadow.reported.a.b.c:v",
        "shadow.hasDelta:true",
        "44",
        "acct",
        "true",
        "shadow.metadata.reported.a.timestamp:44",
        "shadow.*.b.c:v",
        "attributes.*:7",
        "deviceDefender.violationCount:2",
        "*",
        "*:*",
        "*:light",
    ] {
        check(query, &device, true);
    }
    for query in [
        "version:3",
        "shadow.version:9",
        "shadow.name.cfg.version:4",
        "connectivity.version:8",
        "shadow.timestamp:5",
        "unknown:word",
        "word",
        "billingGroupName:acct",
        "8",
        "9",
        "shadow.reported:*",
        "shadow.name.cfg.reported.deep:*",
        "shadow.name.cfg.reported.list:*",
        "shadow.*.c.b:v",
        "dynamicGroupNames:*",
    ] {
        check(query, &device, false);
    }
}

#[test]
fn an_array_matches_if_one_element_does_and_a_phrase_stays_in_one() {
    let device = reported(json!({ "t": ["new york", "old town", 7, true] }));
    check("shadow.reported.t:york", &device, true);
    check("shadow.reported.t:\"york old\"", &device, false);
    check("shadow.reported.t:\"OLD  town\"", &device, true);
    check(r"shadow.reported.t:new\ york", &device, true);
    check(r"shadow.reported.t:york\ new", &device, false);
    check("shadow.reported.t>6", &device, true);
    check("shadow.reported.t:TRUE", &device, true);
}

#[test]
fn numbers_are_equal_as_numbers_where_they_are_numbers() {
    let attribute = json!({ "attributes": { "n": "1.10" } });
    check("attributes.n:1.1", &attribute, true);
    check("attributes.n:11e-1", &attribute, true);
    check("attributes.n:\"1.1\"", &attribute, false);
    check("attributes.n:[1.1 TO 1.1]", &attribute, true);
    check("attributes.n:{1.1 TO 1.2]", &attribute, false);
    let number = reported(json!({ "n": -0.0 }));
    check("shadow.reported.n:0", &number, true);
    check("shadow.reported.n<0", &number, false);
    let text = reported(json!({ "n": "1.10" }));
    check("shadow.reported.n:1.1", &text, false);
    check("shadow.reported.n:1.10", &text, true);
    check("shadow.reported.n>1", &text, false);
    check("shadow.reported.n>\"1\"", &text, true);
}

#[test]
fn a_range_over_words_without_a_field() {
    let device = json!({ "thingName": "x", "attributes": { "a": "7" }, "connectivity": { "timestamp": 99 } });
    check("[5 TO 9]", &device, true);
    check("[90 TO 100]", &device, false);
    check("[\"x\" TO \"y\"}", &device, true);
}

#[test]
fn versions_compare_as_versions() {
    let device = json!({ "attributes": { "fw": "1.10.0" } });
    check("attributes.fw<semver\"1.9.0\"", &device, false);
    check("attributes.fw>=semver\"1.10\"", &device, true);
    check("attributes.fw:semver\"v1.10.0+b1\"", &device, true);
    check("attributes.fw>semver\"1.10.0-rc.1\"", &device, true);
    check("NOT attributes.fw<semver\"2\"", &json!({}), true);
    check(
        "attributes.fw<semver\"2\"",
        &json!({ "attributes": { "fw": "new" } }),
        false,
    );
}

#[test]
fn dynamic_groups_are_searched_by_name_alone() {
    let device = document(&json!({ "thingName": "x" })).with_dynamic_groups(["Old-Firmware"]);
    assert!(read_extended("dynamicGroupNames:old-firmware").matches(&device));
    assert!(read_extended("dynamicGroupNames:old*").matches(&device));
    assert!(!read("dynamicGroupNames:old*").matches(&device));
    assert!(!read("old-firmware").matches(&device));
    assert!(!read("thingGroupNames:old-firmware").matches(&device));
    let left = device.with_dynamic_groups([]);
    assert!(!read_extended("dynamicGroupNames:*").matches(&left));
}

#[test]
fn places_are_near_or_not() {
    let seattle = "shadow.reported.l:geo_distance,47.6204,-122.3491,15.5km";
    for place in [
        json!({ "lat": 47.61564, "lon": -122.33584 }),
        json!({ "latitude": 47.61564, "longitude": -122.33584 }),
        json!({ "lat": 47.61564, "long": -122.33584 }),
        json!([47.61564, -122.33584]),
        json!("47.61564, -122.33584"),
        json!("POINT(-122.33584 47.61564)"),
    ] {
        check(seattle, &reported(json!({ "l": place })), true);
    }
    for place in [
        json!({ "lat": 40.7128, "lon": -74.0060 }),
        json!({ "lat": 47.61564 }),
        json!([-122.33584, 47.61564]),
        json!("nowhere"),
        json!([1, 2, 3]),
    ] {
        check(seattle, &reported(json!({ "l": place })), false);
    }
    // A degree of latitude is 111.2 km.
    let device = reported(json!({ "l": [1, 0] }));
    for (distance, near) in [
        ("111.1km", false),
        ("111.3km", true),
        ("69mi", false),
        ("70mi", true),
        ("111300m", true),
    ] {
        check(
            &format!("shadow.reported.l:geo_distance,0,0,{distance}"),
            &device,
            near,
        );
    }
    check(
        "NOT shadow.reported.l:geo_distance,0,0,1km",
        &json!({}),
        true,
    );
}

#[test]
fn the_clause_that_decided_is_named() {
    let device =
        document(&json!({ "thingName": "x", "attributes": { "city": "milan", "fw": "1.2" } }));
    for (query, result, decided) in [
        (
            "attributes.city:milan AND attributes.fw:1.3 AND a",
            false,
            vec!["attributes.fw:1.3"],
        ),
        (
            "attributes.city:rome OR attributes.fw:1.2",
            true,
            vec!["attributes.fw:1.2"],
        ),
        (
            "attributes.city:milan AND NOT attributes.fw:1.3",
            true,
            vec!["attributes.city:milan", "attributes.fw:1.3"],
        ),
        (
            "NOT (attributes.city:milan OR a)",
            false,
            vec!["attributes.city:milan"],
        ),
        ("a OR (attributes.city:milan AND b)", false, vec!["a", "b"]),
    ] {
        let explanation = read(query).explain(&device);
        let clauses: Vec<_> = explanation
            .decided_by
            .iter()
            .map(|clause| clause.clause.as_str())
            .collect();
        assert_eq!((explanation.result, clauses), (result, decided), "{query}");
        assert_eq!(explanation.result, read(query).matches(&device), "{query}");
    }
    let clause = &read("NOT milan").explain(&device).decided_by[0];
    assert_eq!(
        (clause.result, clause.negated, clause.seen.as_slice()),
        (true, true, ["attributes.city: milan".to_owned()].as_slice())
    );
    let clause = &read("attributes.fw>2").explain(&device).decided_by[0];
    assert_eq!(clause.seen, ["1.2"]);
}
