use super::*;
use serde_json::json;

fn request(value: &serde_json::Value) -> CreateRequest {
    CreateRequest::parse(value.to_string().as_bytes(), None)
        .unwrap()
        .0
}

fn light() -> CreateRequest {
    request(&json!({"thingName": "l", "thingType": "t", "groups": ["g", "h"], "billingGroup": "b"}))
}

fn group(root: &str, bears_policy: bool) -> GroupSeen {
    GroupSeen {
        dynamic: false,
        root: root.to_owned(),
        bears_policy,
    }
}

fn around() -> Surroundings {
    let name = |n| GroupName::parse(n).unwrap();
    Surroundings {
        thing: None,
        thing_type: Some(TypeSeen { deprecated: false }),
        groups: vec![
            (name("g"), Some(group("g", true))),
            (name("h"), Some(group("h", false))),
        ],
        billing_group: true,
    }
}

fn check(change: impl FnOnce(&mut Surroundings), resumed: bool, refused: Option<&str>) {
    let mut seen = around();
    change(&mut seen);
    let answer = admit(&light(), &seen, resumed);
    let field = answer.as_ref().err().map(|f| f.field.clone().unwrap());
    assert_eq!(field.as_deref(), refused, "{answer:?}");
}

#[test]
fn what_a_creation_needs_is_looked_at_before_anything_is_made() {
    check(|_| {}, false, None);
    check(|s| s.thing_type = None, false, Some("thingType"));
    check(
        |s| s.thing_type = Some(TypeSeen { deprecated: true }),
        false,
        Some("thingType"),
    );
    check(|s| s.billing_group = false, false, Some("billingGroup"));
    check(|s| s.groups[1].1 = None, false, Some("groups"));
    check(
        |s| s.groups[1].1 = Some(group("g", false)),
        false,
        Some("groups"),
    );
    check(
        |s| s.groups[0].1 = Some(group("g", false)),
        false,
        Some("groups"),
    );
    check(
        |s| s.groups[1].1.as_mut().unwrap().dynamic = true,
        false,
        Some("groups"),
    );
}

#[test]
fn a_thing_that_is_not_ours_is_never_taken_over() {
    check(
        |s| s.thing = Some(ThingSeen { as_planned: true }),
        false,
        Some("thingName"),
    );
    check(
        |s| s.thing = Some(ThingSeen { as_planned: true }),
        true,
        None,
    );
    check(
        |s| s.thing = Some(ThingSeen { as_planned: false }),
        true,
        Some("thingName"),
    );
}

#[test]
fn five_rounds_with_attachment_the_last_effect() {
    let plan = CreatePlan::new(OperationId::from_random([7; 16]), light());
    let rounds = plan.rounds();
    assert_eq!(rounds.len() + 1, 5, "the claim is the first");
    assert!(
        rounds[0].contains(&Step::StoreKey) && rounds[1].contains(&Step::Mint),
        "sealed, then certified"
    );
    let attached = rounds
        .iter()
        .position(|r| r.contains(&Step::Attach))
        .unwrap();
    let joined = rounds
        .iter()
        .rposition(|r| r.iter().any(|s| matches!(s, Step::JoinGroup(_))))
        .unwrap();
    assert!(joined < attached);
    assert_eq!(rounds.last().unwrap(), &[Step::Commit]);
    assert_eq!(
        plan.undo(),
        [Step::Attach, Step::Mint, Step::CreateThing, Step::StoreKey]
    );
}

#[test]
fn with_an_authority_of_our_own_the_id_is_recorded_before_anything_is_minted() {
    let steps = |issuer| {
        let light = light().or_default_issuer(issuer);
        CreatePlan::new(OperationId::from_random([7; 16]), light).rounds()
    };
    for (issuer, recorded_after) in [(Issuer::AwsIot, true), (Issuer::KmsCa, false)] {
        let rounds = steps(issuer);
        assert_eq!(rounds.len() + 1, 5, "{issuer:?}");
        assert!(rounds[0].contains(&Step::IntendMint) && rounds[1].contains(&Step::Mint));
        let after = rounds[2].contains(&Step::RecordCertificate);
        assert_eq!(after, recorded_after, "{issuer:?}");
    }
}

#[test]
fn a_taken_name() {
    let plan = CreatePlan::new(OperationId::from_random([7; 16]), light());
    let now = Moment(1000);
    let operation = plan.operation(now, Moment(2000));
    let mut record = plan.claimed(now);
    assert_eq!(
        taken(&light(), &record, Some(&operation), now),
        Ok(Taken::InFlight)
    );
    assert_eq!(
        taken(&light(), &record, Some(&operation), Moment(2001)),
        Ok(Taken::Abandoned)
    );
    record.status = DeviceStatus::Active;
    assert_eq!(taken(&light(), &record, None, now), Ok(Taken::There));
    let other = request(&json!({"thingName": "l", "thingType": "u"}));
    assert_eq!(
        taken(&other, &record, None, now)
            .unwrap_err()
            .field
            .as_deref(),
        Some("thingType")
    );
    for (status, kind) in [
        (DeviceStatus::Deleting, Kind::Busy),
        (DeviceStatus::Stuck, Kind::Stuck),
    ] {
        record.status = status;
        for wanted in [&light(), &other] {
            let failure = taken(wanted, &record, None, now).unwrap_err();
            assert_eq!(failure.kind, kind, "whatever the fields are");
        }
    }
}
