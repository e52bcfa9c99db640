use serde_json::{Value, json};

use super::*;
use crate::create::CreatePlan;
use crate::request::CreateRequest;

fn default_group() -> GroupName {
    GroupName::parse("default").unwrap()
}

fn record() -> DeviceRecord {
    let body = json!({
        "thingName": "light-1", "thingType": "light", "groups": ["navigli", "tests"],
        "attributes": {"city": "milan", "wattage": "60"}, "billingGroup": "milan",
    });
    let request = CreateRequest::parse(body.to_string().as_bytes(), None)
        .unwrap()
        .0;
    let id = OperationId::from_random([1; 16]);
    let mut record = CreatePlan::new(id, request).claimed(Moment(1));
    record.status = DeviceStatus::Active;
    record.version = 4;
    record
}

fn parse(body: &Value) -> Result<UpdateRequest, Failure> {
    UpdateRequest::parse(body.to_string().as_bytes(), None, None).map(|(request, _)| request)
}

fn planned(body: &Value) -> Option<UpdatePlan> {
    match decide(&parse(body).unwrap(), &record(), &default_group()).unwrap() {
        Decision::Unchanged => None,
        Decision::Begin(plan) => Some(*plan),
    }
}

#[test]
fn requests() {
    let groups = |n: usize| (0..n).map(|i| format!("g{i}")).collect::<Vec<_>>();
    for (body, refused) in [
        (json!({}), Some("body")),
        (json!([]), Some("body")),
        (json!({"colour": "red", "thingType": "t"}), Some("body")),
        (json!({"version": 1}), Some("body")),
        (json!({"attributes": {"a": "1", "b": null}}), None),
        (json!({"attributes": {"a": 1}}), Some("attributes")),
        (json!({"attributes": {"a b": "1"}}), Some("attributes")),
        (json!({"attributes": {"a": "ü"}}), Some("attributes")),
        (json!({"replaceAttributes": true}), Some("attributes")),
        (json!({"replaceAttributes": true, "attributes": {}}), None),
        (json!({"groups": groups(9)}), None),
        (
            json!({"groups": ["a"], "joinGroups": ["b"]}),
            Some("groups"),
        ),
        (
            json!({"joinGroups": ["a"], "leaveGroups": ["a"]}),
            Some("leaveGroups"),
        ),
        (json!({"joinGroups": ["a/b"]}), Some("joinGroups")),
        (json!({"billingGroup": null}), None),
        (json!({"billingGroup": "a b"}), Some("billingGroup")),
        (json!({"thingType": ""}), Some("thingType")),
        (json!({"thingType": "t", "version": "1"}), Some("version")),
        (
            json!({"thingType": "t", "idempotencyKey": ""}),
            Some("idempotencyKey"),
        ),
    ] {
        let field = parse(&body).err().and_then(|failure| failure.field);
        assert_eq!(field.as_deref(), refused, "{body}");
    }
}

#[test]
fn the_version_is_expected_by_header_or_body() {
    let body = json!({"thingType": "t", "version": 3}).to_string();
    let plain = json!({"thingType": "t"}).to_string();
    for (body, header, status) in [
        (&plain, None, None),
        (&plain, Some("*"), None),
        (&plain, Some("\"4\""), None),
        (&plain, Some("4"), None),
        (&plain, Some("\"3\""), Some(412)),
        (&plain, Some("\"x\""), Some(400)),
        (&body, None, Some(409)),
        (&body, Some("\"3\""), Some(412)),
        (&body, Some("\"4\""), Some(400)),
    ] {
        let parsed = UpdateRequest::parse(body.as_bytes(), header, None);
        let decided = parsed.and_then(|(request, _)| decide(&request, &record(), &default_group()));
        let found = decided.err().map(|failure| failure.http_status());
        assert_eq!(found, status, "{body} {header:?}");
    }
    // As asked already: that the reply was lost is no conflict.
    let again = json!({"attributes": {"city": "milan"}, "version": 3});
    assert_eq!(planned(&again), None);
}

/// What a request makes of the device: the fields that differ, and their values.
fn check(body: &Value, after: Option<&Value>) {
    let plan = planned(body);
    let found = plan.as_ref().map(|plan| {
        let all = json!(plan.after);
        let differing = plan.before.differing(&plan.after);
        differing
            .into_iter()
            .map(|f| (f.to_owned(), all[f].clone()))
            .collect::<Value>()
    });
    assert_eq!(found.as_ref(), after, "{body}");
}

#[test]
fn what_a_request_makes_of_a_device() {
    check(
        &json!({"attributes": {"city": "milan", "none": null}}),
        None,
    );
    check(
        &json!({"attributes": {"city": "turin", "wattage": null, "a": ""}}),
        Some(&json!({"attributes": {"city": "turin"}})),
    );
    check(
        &json!({"replaceAttributes": true, "attributes": {"a": "1"}}),
        Some(&json!({"attributes": {"a": "1"}})),
    );
    check(&json!({"groups": ["tests", "navigli"]}), None);
    check(
        &json!({"groups": ["brera"]}),
        Some(&json!({"groups": ["brera"]})),
    );
    check(
        &json!({"groups": []}),
        Some(&json!({"groups": ["default"]})),
    );
    check(
        &json!({"joinGroups": ["brera"], "leaveGroups": ["navigli", "none"]}),
        Some(&json!({"groups": ["brera", "tests"]})),
    );
    check(
        &json!({"leaveGroups": ["navigli", "tests"]}),
        Some(&json!({"groups": ["default"]})),
    );
    check(
        &json!({"billingGroup": null}),
        Some(&json!({"billingGroup": null})),
    );
    check(
        &json!({"thingType": "light-v2"}),
        Some(&json!({"thingType": "light-v2"})),
    );
    let too_many: Vec<_> = (0..9).map(|i| format!("g{i}")).collect();
    let request = parse(&json!({"groups": too_many})).unwrap();
    let refused = decide(&request, &record(), &default_group()).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("groups"));
}

#[test]
fn what_stands_in_the_way() {
    use DeviceStatus::{Active, Creating, Deleting, Stuck};
    use OperationStatus::{Compensated, Done, Running, Undoing};
    let plan = planned(&json!({"thingType": "t"})).unwrap();
    let update = |status, lease| {
        let id = OperationId::from_random([2; 16]);
        let mut operation =
            plan.operation(id, &record().request.thing_name, Moment(1), Moment(lease));
        operation.status = status;
        operation
    };
    for (device, operation, wanted) in [
        (Active, None, Ok(Standing::Free)),
        (Active, Some(update(Done, 200)), Ok(Standing::Free)),
        (Active, Some(update(Compensated, 200)), Ok(Standing::Free)),
        (
            Active,
            Some(update(OperationStatus::Stuck, 200)),
            Ok(Standing::Free),
        ),
        (Active, Some(update(Running, 200)), Err(Kind::Busy)),
        (Active, Some(update(Undoing, 200)), Err(Kind::Busy)),
        (Active, Some(update(Running, 99)), Ok(Standing::Abandoned)),
        (Active, Some(update(Undoing, 99)), Ok(Standing::Abandoned)),
        (Creating, None, Err(Kind::Busy)),
        (Deleting, None, Err(Kind::Conflict)),
        (Stuck, None, Err(Kind::Stuck)),
    ] {
        let record = DeviceRecord {
            status: device,
            ..record()
        };
        let found = standing(&record, operation.as_ref(), Moment(100)).map_err(|f| f.kind);
        assert_eq!(found, wanted, "{device:?} {operation:?}");
    }
    let mut creation = update(Running, 200);
    creation.kind = OperationKind::Renew;
    assert_eq!(
        standing(&record(), Some(&creation), Moment(100)),
        Ok(Standing::Free)
    );
}

fn around(roots: &[(&str, &str)], before: &BTreeSet<GroupName>) -> Surroundings {
    let all = roots.iter().map(|(name, root)| {
        let seen = GroupSeen {
            dynamic: false,
            root: (*root).to_owned(),
            bears_policy: true,
        };
        (GroupName::parse(name).unwrap(), Some(seen))
    });
    let (left, groups) = all.partition(|(name, _)| before.contains(name));
    Surroundings {
        groups,
        left,
        ..Surroundings::default()
    }
}

/// A thing as AWS would hold it for what is desired.
fn held(desired: &Desired, more: &[&str]) -> Seen {
    let more = more.iter().map(|name| (*name).to_owned());
    Seen {
        thing_type: desired.thing_type.as_ref().map(ToString::to_string),
        attributes: desired
            .attributes
            .iter()
            .map(|(n, v)| (n.as_str().to_owned(), v.as_str().to_owned()))
            .collect(),
        billing_group: desired.billing_group.as_ref().map(ToString::to_string),
        groups: desired
            .groups
            .iter()
            .map(ToString::to_string)
            .chain(more)
            .collect(),
        version: 7,
    }
}

/// What an effect makes of a thing, as AWS would, its rules included.
fn perform(effect: &Effect, seen: &mut Seen, roots: &[(&str, &str)]) {
    match effect {
        Effect::Thing {
            attributes,
            thing_type,
            version,
        } => {
            assert_eq!(*version, seen.version);
            let desired = Desired {
                attributes: attributes.clone(),
                thing_type: thing_type.clone(),
                ..Desired::default()
            };
            let made = held(&desired, &[]);
            (seen.attributes, seen.thing_type) = (made.attributes, made.thing_type);
            seen.version += 1;
        }
        Effect::LeaveBillingGroup(group) => {
            assert_eq!(seen.billing_group.take().as_ref(), Some(group));
        }
        Effect::JoinBillingGroup(group) => {
            assert_eq!(seen.billing_group, None, "one billing group a thing");
            seen.billing_group = Some(group.to_string());
        }
        Effect::Join(group) => drop(seen.groups.insert(group.to_string()).then_some(())),
        Effect::Leave(group) => assert!(seen.groups.remove(group.as_str())),
        Effect::Swap { join, leave } => {
            for group in leave {
                assert!(seen.groups.remove(group.as_str()));
            }
            seen.groups.extend(join.iter().map(ToString::to_string));
        }
    }
    assert!(seen.groups.len() <= 10, "{:?}", seen.groups);
    let bears = seen
        .groups
        .iter()
        .any(|group| roots.iter().any(|(name, _)| name == group));
    assert!(bears, "at no moment without a policy: {effect:?}");
    let mut taken = BTreeSet::new();
    for group in &seen.groups {
        let root = roots
            .iter()
            .find(|(name, _)| name == group)
            .map(|(_, root)| root);
        assert!(
            root.is_none_or(|root| taken.insert(root)),
            "one of a hierarchy: {effect:?}"
        );
    }
}

const ROOTS: [(&str, &str); 5] = [
    ("navigli", "milan"),
    ("brera", "milan"),
    ("tests", "tests"),
    ("turin", "turin"),
    ("default", "default"),
];

/// A request cut off after any effect, then taken up or taken back.
fn check_effects(body: &Value, more: &[&str], stages: usize) {
    let plan = planned(body).unwrap();
    let around = around(&ROOTS, &plan.before.groups);
    let start = held(&plan.before, more);
    let whole = effects(&plan, OperationStatus::Running, &start, &around).unwrap();
    assert_eq!(whole.len(), stages, "{body}: {whole:?}");
    let all: Vec<_> = whole.into_iter().flatten().collect();
    for cut in 0..=all.len() {
        for status in [OperationStatus::Running, OperationStatus::Undoing] {
            let mut seen = start.clone();
            for effect in &all[..cut] {
                perform(effect, &mut seen, &ROOTS);
            }
            for effect in effects(&plan, status, &seen, &around)
                .unwrap()
                .iter()
                .flatten()
            {
                perform(effect, &mut seen, &ROOTS);
            }
            let wanted = held(plan.target(status), more);
            let same = Seen {
                version: seen.version,
                ..wanted
            };
            assert_eq!(seen, same, "{body}, cut off after {cut}, {status:?}");
            assert_eq!(effects(&plan, status, &seen, &around), Ok(Vec::new()));
        }
    }
}

#[test]
fn an_update_converges_from_wherever_it_broke_off_and_back() {
    check_effects(
        &json!({"attributes": {"city": "turin"}, "thingType": "light-v2"}),
        &[],
        1,
    );
    check_effects(&json!({"billingGroup": "turin"}), &[], 2);
    check_effects(&json!({"billingGroup": null}), &["theirs"], 1);
    check_effects(&json!({"groups": ["turin"]}), &[], 2);
    check_effects(&json!({"groups": ["turin"]}), &["theirs"], 2);
    check_effects(&json!({"groups": ["brera"]}), &[], 2);
    check_effects(&json!({"groups": ["brera", "tests"]}), &[], 1);
    check_effects(
        &json!({"groups": ["brera", "turin"], "billingGroup": "turin"}),
        &[],
        3,
    );
    let eight: Vec<_> = (0..8).map(|i| format!("theirs-{i}")).collect();
    let eight: Vec<_> = eight.iter().map(String::as_str).collect();
    check_effects(&json!({"groups": ["turin"]}), &eight, 1);
}

#[test]
fn no_room_is_said_before_anything_is_done() {
    let plan = planned(&json!({"joinGroups": ["turin"]})).unwrap();
    let eight: Vec<_> = (0..8).map(|i| format!("theirs-{i}")).collect();
    let eight: Vec<_> = eight.iter().map(String::as_str).collect();
    let seen = held(&plan.before, &eight);
    let around = around(&ROOTS, &plan.before.groups);
    let refused = effects(&plan, OperationStatus::Running, &seen, &around).unwrap_err();
    assert!(refused.reason.contains("11 groups"), "{refused}");
}

#[test]
fn what_is_not_touched_is_left_as_it_is() {
    let plan = planned(&json!({"attributes": {"city": "turin"}})).unwrap();
    let drifted = Seen::default();
    let done = effects(
        &plan,
        OperationStatus::Running,
        &drifted,
        &Surroundings::default(),
    )
    .unwrap();
    assert!(
        matches!(&done.concat()[..], [Effect::Thing { .. }]),
        "{done:?}"
    );
    // Unless it is to be brought in line.
    let ensure = UpdateRequest {
        thing_type: record().request.thing_type,
        ensure: true,
        ..UpdateRequest::default()
    };
    let Decision::Begin(plan) = decide(&ensure, &record(), &default_group()).unwrap() else {
        panic!()
    };
    assert_eq!(plan.before, plan.after);
    let done = effects(
        &plan,
        OperationStatus::Running,
        &drifted,
        &Surroundings::default(),
    )
    .unwrap();
    assert_eq!(done.concat().len(), 1);
}

#[test]
fn what_aws_would_refuse_is_refused_first() {
    type Spoil = fn(&mut Surroundings);

    let group = |bears_policy, root: &str| {
        Some(GroupSeen {
            dynamic: false,
            root: root.to_owned(),
            bears_policy,
        })
    };
    let name = |text: &str| GroupName::parse(text).unwrap();
    let plan =
        planned(&json!({"groups": ["a", "b"], "thingType": "t", "billingGroup": "b"})).unwrap();
    let fine = Surroundings {
        thing_type: Some(TypeSeen { deprecated: false }),
        groups: vec![
            (name("a"), group(false, "a")),
            (name("b"), group(true, "b")),
        ],
        billing_group: true,
        ..Surroundings::default()
    };
    plan.admit(&fine).unwrap();
    let cases: [(Spoil, &str); 6] = [
        (|s| s.thing_type = None, "thingType"),
        (
            |s| s.thing_type = Some(TypeSeen { deprecated: true }),
            "thingType",
        ),
        (|s| s.billing_group = false, "billingGroup"),
        (|s| s.groups[0].1 = None, "groups"),
        (
            |s| s.groups[0].1.as_mut().unwrap().root = "b".to_owned(),
            "groups",
        ),
        (
            |s| s.groups[1].1.as_mut().unwrap().bears_policy = false,
            "groups",
        ),
    ];
    for (spoil, field) in cases {
        let mut seen = fine.clone();
        spoil(&mut seen);
        assert_eq!(plan.admit(&seen).unwrap_err().field.as_deref(), Some(field));
    }
}
