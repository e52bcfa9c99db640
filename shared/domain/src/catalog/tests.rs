use serde_json::{Value, json};

use super::*;

mod plans;
mod removals;
mod types;

fn default_group() -> GroupName {
    GroupName::parse("lamplighter-default").unwrap()
}

fn base() -> Value {
    json!({
        "thingTypes": [{"name": "light", "description": "A light", "searchableAttributes": ["wattage", "city"]}],
        "policies": [{"name": "light", "document": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/x"},
        ]}}],
        "groups": [
            {"name": "navigli", "parent": "milan"},
            {"name": "milan", "attributes": {"city": "milan"}, "policies": ["light"]},
        ],
        "billingGroups": [{"name": "bill", "description": "Pays", "tags": {"cost-centre": "42"}}],
        "dynamicGroups": [{"name": "old", "query": "attributes.city:milan", "onEnter": {"job": "update"}}],
        "jobTemplates": [{
            "name": "update", "parameters": {"to": {"type": "string", "default": "2"}}, "document": {
                "version": "1.0", "steps": [{"action": {"name": "Update", "type": "runHandler",
                    "input": {"handler": "update.sh", "args": ["${aws:iot:parameter:to}"]}}}],
            },
        }],
        "profiles": [{
            "name": "spring", "thingType": "light", "groups": ["navigli"], "billingGroup": "bill",
            "attributes": {"city": "milan"}, "claimCertificateIds": ["a".repeat(64)],
            "retainedTopics": ["lights/{thingName}/state"],
        }],
    })
}

fn parse(catalog: &Value) -> Result<Catalog, crate::Failure> {
    Catalog::parse(catalog.to_string().as_bytes(), &default_group())
}

/// The base catalog with one value put at a JSON pointer is refused at a path,
/// or accepted.
fn check(pointer: &str, value: Value, refused: Option<&str>) {
    let mut catalog = base();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match catalog.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(last.to_owned(), value)),
        Value::Array(entries) => entries.push(value),
        other => panic!("{other}"),
    }
    let parsed = parse(&catalog);
    let path = parsed
        .as_ref()
        .err()
        .and_then(|failure| failure.field.clone());
    assert_eq!(path.as_deref(), refused, "{pointer}: {parsed:?}");
    if let Err(failure) = parsed {
        assert!(!failure.reason.is_empty() && !failure.remedy.is_empty());
        assert!((400..500).contains(&failure.http_status()));
    }
}

#[test]
fn a_section_that_comes_twice_is_refused() {
    for (text, says) in [
        (
            r#"{"groups": [{"name": "a"}], "groups": []}"#,
            "\"groups\" comes twice",
        ),
        (
            r#"{"groups": [{"name": "a", "name": "b"}]}"#,
            "\"name\" comes twice",
        ),
        ("[]", "a list, not an object"),
    ] {
        let refused = Catalog::parse(text.as_bytes(), &default_group()).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("body"), "{text}");
        assert!(refused.reason.contains(says), "{text}: {refused}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn what_a_catalog_may_be() {
    check("/jobs", json!([]), Some("jobs"));
    check("/groups", json!({}), Some("groups"));
    check("/profiles", Value::Null, None);
    check(
        "/thingTypes/0/name",
        json!("a b"),
        Some("thingTypes[0].name"),
    );
    check(
        "/thingTypes/0/colour",
        json!("red"),
        Some("thingTypes[0].colour"),
    );
    check(
        "/thingTypes/0/searchableAttributes",
        json!(["a", "b", "c"]),
        None,
    );
    check(
        "/thingTypes/0/searchableAttributes",
        json!(["a", "b", "c", "d"]),
        Some("thingTypes[0].searchableAttributes"),
    );
    check(
        "/thingTypes/-",
        json!({"name": "light"}),
        Some("thingTypes[1].name"),
    );
    check("/thingTypes/-", json!({}), Some("thingTypes[1]"));
    check("/billingGroups/-", json!("bill"), Some("billingGroups[1]"));
    check("/groups/0/parent", json!("turin"), Some("groups[0].parent"));
    check(
        "/groups/1/parent",
        json!("navigli"),
        Some("groups[0].parent"),
    );
    check(
        "/groups/1/policies",
        json!(["other"]),
        Some("groups[1].policies"),
    );
    check(
        "/groups/-",
        json!({"name": "lamplighter-default"}),
        Some("groups[2].name"),
    );
    check(
        "/groups/1/attributes",
        json!({"city": 5}),
        Some("groups[1].attributes"),
    );
    check(
        "/profiles/0/thingType",
        json!("bulb"),
        Some("profiles[0].thingType"),
    );
    check(
        "/profiles/0/billingGroup",
        json!("other"),
        Some("profiles[0].billingGroup"),
    );
    check(
        "/profiles/0/groups",
        json!(["turin"]),
        Some("profiles[0].groups"),
    );
    check(
        "/profiles/0/groups",
        json!(["milan", "navigli"]),
        Some("profiles[0].groups"),
    );
    check("/profiles/0/groups", json!([]), None);
    check(
        "/profiles/0/groups",
        json!(["lamplighter-default", "navigli"]),
        None,
    );
    check(
        "/profiles/0/claimCertificateIds",
        json!(["abc"]),
        Some("profiles[0].claimCertificateIds"),
    );
    check(
        "/profiles/0/attributes",
        json!({"wattage": 60}),
        Some("profiles[0].attributes"),
    );
    check(
        "/profiles/0/retainedTopics",
        json!(["lights/state"]),
        Some("profiles[0].retainedTopics"),
    );
    check(
        "/profiles/0/retainedTopics",
        json!(["{thingName}/#"]),
        Some("profiles[0].retainedTopics"),
    );
    check(
        "/profiles/0/retainedTopics",
        json!(["$aws/{thingName}"]),
        Some("profiles[0].retainedTopics"),
    );
    check(
        "/profiles/0/retainedTopics",
        json!(["{thingName}/{thingName}"]),
        Some("profiles[0].retainedTopics"),
    );
    check(
        "/profiles/0/retainedTopics",
        json!(["a/b/c/d/e/f/g/h/{thingName}"]),
        Some("profiles[0].retainedTopics"),
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn what_newer_sections_may_be() {
    let entry = |name: &str| json!({"name": name, "query": "x:1"});
    for (field, value, refused) in [
        (
            "billingGroups/0/tags",
            json!({"aws:x": "y"}),
            Some("billingGroups[0].tags.aws:x"),
        ),
        (
            "billingGroups/0/tags",
            json!({"x": "a;b"}),
            Some("billingGroups[0].tags.x"),
        ),
        (
            "billingGroups/0/tags",
            json!({"city": "Milano è qui"}),
            None,
        ),
        (
            "dynamicGroups/0/query",
            json!(" "),
            Some("dynamicGroups[0].query"),
        ),
        (
            "dynamicGroups/0/query",
            json!("attributes.city:(milan"),
            Some("dynamicGroups[0].query"),
        ),
        (
            "dynamicGroups/0/query",
            json!("attributes.version<semver\"1.0.0\""),
            Some("dynamicGroups[0].query"),
        ),
        (
            "dynamicGroups/0/query",
            json!("x".repeat(1001)),
            Some("dynamicGroups[0].query"),
        ),
        (
            "dynamicGroups/0/name",
            json!("milan"),
            Some("dynamicGroups[0].name"),
        ),
        (
            "dynamicGroups/0/name",
            json!("lamplighter-default"),
            Some("dynamicGroups[0].name"),
        ),
        (
            "dynamicGroups/0/parent",
            json!("milan"),
            Some("dynamicGroups[0].parent"),
        ),
        (
            "dynamicGroups/0/parent",
            json!("old"),
            Some("dynamicGroups[0].parent"),
        ),
        ("dynamicGroups/0/materialize", json!("native"), None),
        (
            "dynamicGroups/0/materialize",
            json!("both"),
            Some("dynamicGroups[0].materialize"),
        ),
        (
            "dynamicGroups/0/onEnter",
            json!({"job": "none"}),
            Some("dynamicGroups[0].onEnter.job"),
        ),
        (
            "dynamicGroups/0/onEnter",
            json!({"jobs": []}),
            Some("dynamicGroups[0].onEnter"),
        ),
        (
            "jobTemplates/0/parameters",
            json!({"to": {"type": "string"}}),
            Some("dynamicGroups[0].onEnter.job"),
        ),
        ("dynamicGroups/-", entry("new"), None),
        (
            "dynamicGroups/-",
            entry("old"),
            Some("dynamicGroups[1].name"),
        ),
        (
            "jobTemplates/0/document",
            json!("text"),
            Some("jobTemplates[0].document"),
        ),
        (
            "jobTemplates/0/document",
            json!({"x": "y".repeat(32_768)}),
            Some("jobTemplates[0].document"),
        ),
        (
            "jobTemplates/0/parameters",
            json!({"to": 1}),
            Some("jobTemplates[0].parameters.to"),
        ),
        (
            "jobTemplates/0/parameters",
            json!({"to": {"type": "string", "default": "2"}, "from": {"type": "string"}}),
            Some("jobTemplates[0].parameters.from"),
        ),
        (
            "jobTemplates/0/document/steps/0/action/type",
            json!("runCommand"),
            Some("jobTemplates[0].document.steps[0].action.type"),
        ),
        (
            "jobTemplates/0/name",
            json!("a b"),
            Some("jobTemplates[0].name"),
        ),
        (
            "thingTypes/-",
            json!({"name": "light-v2"}),
            Some("thingTypes[1].name"),
        ),
        ("thingTypes/-", json!({"name": "light-vx"}), None),
    ] {
        check(&format!("/{field}"), value, refused);
    }
    let mut both = base();
    both["dynamicGroups"][0]["semver"] = true.into();
    both["dynamicGroups"][0]["materialize"] = "native".into();
    assert_eq!(
        parse(&both).unwrap_err().field.unwrap(),
        "dynamicGroups[0].semver"
    );
}

#[test]
fn a_profile_whose_groups_bear_no_policy() {
    check("/groups/1/policies", json!([]), Some("profiles[0].groups"));
}

#[test]
fn what_a_policy_document_may_be() {
    let path = |rest: &str| format!("policies[0].document{rest}");
    let statement = |field: &str, value: Value, refused: Option<&str>| {
        let refused = refused.map(path);
        check(
            &format!("/policies/0/document/Statement/0/{field}"),
            value,
            refused.as_deref(),
        );
    };
    check("/policies/0/document", json!("text"), Some(&path("")));
    check(
        "/policies/0/document/Version",
        json!("2008-10-17"),
        Some(&path(".Version")),
    );
    check(
        "/policies/0/document/Statement",
        json!([]),
        Some(&path(".Statement")),
    );
    check(
        "/policies/0/document/Id",
        json!("x".repeat(2048)),
        Some(&path("")),
    );
    statement("Action", json!("*"), Some(".Statement[0].Action"));
    statement(
        "Action",
        json!(["iot:Connect", "iot:*"]),
        Some(".Statement[0].Action"),
    );
    statement(
        "Action",
        json!("s3:GetObject"),
        Some(".Statement[0].Action"),
    );
    statement("Action", json!([]), Some(".Statement[0].Action"));
    statement("Action", json!(["iot:Publish", "iot:Receive"]), None);
    statement("Action", json!("iot:Pub*"), Some(".Statement[0].Action"));
    for (resource, fine) in [
        ("*", false),
        ("client/x", false),
        ("arn:aws:s3:::bucket/x", false),
        ("arn:aws:iot:*:*:*", false),
        ("arn:aws:iot:*:*:topic/*", true),
        (
            "arn:aws-cn:iot:cn-north-1:1:client/${iot:Connection.Thing.ThingName}",
            true,
        ),
    ] {
        let refused = (!fine).then_some(".Statement[0].Resource");
        statement("Resource", json!(resource), refused);
    }
    statement("Effect", json!("allow"), Some(".Statement[0].Effect"));
    statement("Resource", Value::Null, Some(".Statement[0].Resource"));
    statement(
        "NotAction",
        json!("iot:Connect"),
        Some(".Statement[0].NotAction"),
    );
    check(
        "/policies/0/document/Statement/-",
        json!({"Effect": "Deny", "Action": "*", "Resource": "*"}),
        None,
    );
}

#[test]
fn a_hierarchy_is_at_most_seven_deep() {
    let chain = |n: usize| -> Vec<Value> {
        (0..n)
            .map(|i| match i {
                0 => json!({"name": "g0"}),
                _ => json!({"name": format!("g{i}"), "parent": format!("g{}", i - 1)}),
            })
            .collect()
    };
    assert!(parse(&json!({"groups": chain(7)})).is_ok());
    assert_eq!(
        parse(&json!({"groups": chain(8)}))
            .unwrap_err()
            .field
            .as_deref(),
        Some("groups[7].parent")
    );
    let all = parse(&json!({"groups": chain(7).into_iter().rev().collect::<Vec<_>>()})).unwrap();
    assert_eq!(all.groups[0].name.as_str(), "g0", "parents come first");
}

/// The published schema is held to the same cases by `.ci/check_catalog.py`.
#[test]
fn the_cases_that_the_published_schema_is_held_to() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../fixtures/catalogs.json")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let parsed = parse(&case["catalog"]);
        assert_eq!(parsed.is_ok(), case["parser"] == true, "{case}: {parsed:?}");
        let both = case["parser"] == case["schema"];
        let said = case["case"]
            .as_str()
            .is_some_and(|text| text.ends_with("only the parser sees it"));
        assert_ne!(both, said, "{case}");
    }
}
