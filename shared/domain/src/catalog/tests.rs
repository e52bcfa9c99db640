use serde_json::{Value, json};

use super::*;
use crate::device::Issuer;
use crate::names::ProfileName;

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
        "billingGroups": [{"name": "bill", "description": "Pays"}],
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

/// What is there after everything of a plan has been done.
fn after(items: &[Item], mut seen: Observed) -> Observed {
    for item in items {
        match item.clone() {
            Item::ThingType(t) => drop(seen.thing_types.insert(
                t.name,
                ThingTypeSeen {
                    description: t.description,
                    searchable_attributes: t.searchable_attributes,
                    deprecated: false,
                },
            )),
            Item::Policy(p) => drop(seen.policies.insert(p.name, p.document)),
            Item::BillingGroup(b) => drop(seen.billing_groups.insert(b.name, b.description)),
            Item::Group { group, .. } => {
                let parent = group.parent.map(|p| p.as_str().to_owned());
                assert!(
                    parent
                        .iter()
                        .all(|p| seen.groups.keys().any(|name| name.as_str() == p)),
                    "a parent is created first"
                );
                let made = GroupSeen {
                    parent,
                    description: group.description,
                    attributes: group.attributes,
                    ..GroupSeen::default()
                };
                seen.groups.insert(group.name, made);
            }
            Item::Attachment { policy, group } => {
                assert!(seen.policies.contains_key(&policy));
                seen.groups
                    .get_mut(&group)
                    .unwrap()
                    .policies
                    .insert(policy.as_str().to_owned());
            }
            Item::Topics { thing_type, topics } => drop(seen.topics.insert(thing_type, topics)),
            Item::Profile(p) => drop(seen.profiles.insert(p.name.clone(), p)),
        }
    }
    seen
}

#[test]
fn a_plan_cut_off_anywhere_is_taken_up_again_and_a_repeat_changes_nothing() {
    let catalog = parse(&base()).unwrap();
    let whole = plan(&catalog, &Observed::default());
    assert!(whole.refused.is_empty() && whole.unchanged.is_empty());
    assert_eq!(whole.create.len(), 8);
    assert_eq!(stages(&whole.create).count(), 6);
    for done in 0..=whole.create.len() {
        let seen = after(&whole.create[..done], Observed::default());
        let rest = plan(&catalog, &seen);
        assert!(rest.refused.is_empty(), "{:?}", rest.refused);
        assert_eq!(rest.create, whole.create[done..]);
        let again = plan(&catalog, &after(&rest.create, seen));
        assert!(again.create.is_empty() && again.refused.is_empty());
        assert_eq!(again.unchanged.len(), whole.create.len());
    }
}

/// A change to what is there is refused by the names of what differs.
fn check_change(change: impl FnOnce(&mut Observed), kind: &str, differs: &[&str]) {
    let catalog = parse(&base()).unwrap();
    let mut seen = after(
        &plan(&catalog, &Observed::default()).create,
        Observed::default(),
    );
    change(&mut seen);
    let plan = plan(&catalog, &seen);
    let [refusal] = plan.refused.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (refusal.entry.kind, refusal.differs.as_slice()),
        (kind, differs)
    );
    assert!(refusal.reason.contains(&refusal.entry.name));
}

#[test]
fn what_is_there_and_differs_is_refused_by_name() {
    let group = |name| GroupName::parse(name).unwrap();
    let milan = group("milan");
    check_change(
        |s| s.thing_types.values_mut().for_each(|t| t.deprecated = true),
        "thing type",
        &["deprecated"],
    );
    check_change(
        |s| s.policies.values_mut().for_each(|p| *p = json!({})),
        "policy",
        &["document"],
    );
    check_change(
        |s| s.billing_groups.values_mut().for_each(String::clear),
        "billing group",
        &["description"],
    );
    check_change(
        |s| s.groups.get_mut(&milan).unwrap().dynamic = true,
        "group",
        &["dynamic"],
    );
    check_change(
        |s| {
            s.groups
                .get_mut(&milan)
                .unwrap()
                .policies
                .insert("more".to_owned());
        },
        "group",
        &["policies"],
    );
    check_change(
        |s| s.groups.get_mut(&group("navigli")).unwrap().parent = None,
        "group",
        &["parent"],
    );
    check_change(
        |s| {
            let profile = s
                .profiles
                .get_mut(&ProfileName::parse("spring").unwrap())
                .unwrap();
            profile.claim_certificate_ids.clear();
            profile.thing_type = None;
            profile.issuer = Some(Issuer::KmsCa);
        },
        "profile",
        &["thingType", "issuer", "claimCertificateIds"],
    );
}

#[test]
fn topics_are_only_ever_added() {
    let catalog = parse(&base()).unwrap();
    let mut seen = after(
        &plan(&catalog, &Observed::default()).create,
        Observed::default(),
    );
    let thing_type = ThingTypeName::parse("light").unwrap();
    let topics = seen.topics.get_mut(&thing_type).unwrap();
    topics.clear();
    topics.insert("old/{thingName}".to_owned());
    let plan = plan(&catalog, &seen);
    let [Item::Topics { topics, .. }] = plan.create.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(topics.len(), 2);
}

#[test]
fn only_true_is_a_dry_run() {
    for (query, dry) in [
        ("", Some(false)),
        ("dryRun=true", Some(true)),
        ("dryRun=false", Some(false)),
        ("dryRun=1", None),
        ("dry=true", None),
    ] {
        assert_eq!(is_dry_run(query).ok(), dry, "{query}");
    }
}

#[test]
fn a_stopped_policy_is_left_alone() {
    let catalog = parse(&base()).unwrap();
    let seen = Observed {
        stopped: catalog.policies.iter().map(|p| p.name.clone()).collect(),
        ..Observed::default()
    };
    let plan = plan(&catalog, &seen);
    let refused: Vec<_> = plan.refused.iter().map(|r| r.entry.name.as_str()).collect();
    assert_eq!(refused, ["light"]);
    assert!(
        !plan
            .create
            .iter()
            .any(|item| matches!(item, Item::Policy(_)))
    );
}
