//! What comes out of the queue.

use super::*;

#[track_caller]
fn check(body: &Value, expected: Result<Option<&str>, ()>) {
    let read = Message::parse(&body.to_string());
    let found = match &read {
        Ok(message) => Ok(message.as_ref().map(|message| message.thing_name.as_str())),
        Err(failure) => {
            assert_eq!(failure.kind, crate::Kind::Invalid);
            Err(())
        }
    };
    assert_eq!(found, expected, "{body}: {read:?}");
}

#[test]
fn the_topic_says_what_a_message_is() {
    let thing = |topic: &str| json!({"topic": topic, "thingId": "a", "versionNumber": 1});
    check(
        &thing("$aws/events/thing/milan-1/created"),
        Ok(Some("milan-1")),
    );
    check(
        &thing("$aws/events/thing/milan-1/deleted"),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"topic": "$aws/events/thing/milan-1/updated"}),
        Err(()),
    );
    check(&thing("$aws/events/thing/milan.1/created"), Ok(None));
    check(&thing("$aws/events/job/j/completed"), Err(()));
    check(
        &json!({"topic": "$aws/events/thingTypeAssociation/thing/milan-1/thingType/t/added"}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"topic": "$aws/events/thingGroupMembership/thingGroup/g/thing/milan-1/removed"}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"topic": "$aws/events/presence/connected/milan-1", "sessionIdentifier": "s", "timestamp": 1}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"topic": "$aws/events/presence/connected/a b", "sessionIdentifier": "s", "timestamp": 1}),
        Ok(None),
    );
    check(
        &json!({"topic": "$aws/things/milan-1/shadow/update/documents", "version": 1, "timestamp": 1}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"topic": "$aws/things/milan-1/shadow/name/n/delete/accepted", "version": 1, "timestamp": 1}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"source": "lamplighter", "detail-type": "DeviceCreated", "detail": {"thingName": "milan-1"}}),
        Ok(Some("milan-1")),
    );
    check(
        &json!({"source": "somebody", "detail": {"thingName": "milan-1"}}),
        Err(()),
    );
    check(&json!([]), Err(()));
    check(&json!({}), Err(()));
}

#[test]
fn the_samples_are_read() {
    let batches = [
        include_str!("../../../../../events/evaluate-groups/registry.json"),
        include_str!("../../../../../events/evaluate-groups/shadows.json"),
        include_str!("../../../../../events/evaluate-groups/presence.json"),
        include_str!("../../../../../events/evaluate-groups/bus.json"),
    ];
    for batch in batches {
        let batch: Value = serde_json::from_str(batch).unwrap();
        for record in batch["Records"].as_array().unwrap() {
            let read = Message::parse(record["body"].as_str().unwrap()).unwrap();
            assert_eq!(read.unwrap().thing_name.as_str(), "milan-navigli-01");
        }
    }
}

#[test]
fn a_state_that_is_too_long_or_too_deep_is_refused() {
    let shadow = |state: &str| {
        format!(
            r#"{{"topic": "$aws/things/l/shadow/update/documents", "version": 1, "timestamp": 1, "state": {state}}}"#
        )
    };
    // Who looks for it in the log finds the thing and the shadow.
    let refused = |state: &str| {
        let failure = Message::parse(&shadow(state)).err();
        failure.is_some_and(|failure| failure.operator.contains("$aws/things/l/shadow/update"))
    };
    assert!(!refused(r#"{"reported": {"a": 1}}"#));
    assert!(refused(&format!(
        r#"{{"reported": {{"a": "{}"}}}}"#,
        "x".repeat(40_000)
    )));
    let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert!(refused(&format!(r#"{{"reported": {deep}}}"#)));
}

#[test]
fn what_is_cut_off_or_of_another_kind_is_refused_without_a_panic() {
    let batch = include_str!("../../../../../events/evaluate-groups/shadows.json");
    let batch: Value = serde_json::from_str(batch).unwrap();
    for record in batch["Records"].as_array().unwrap() {
        let body = record["body"].as_str().unwrap();
        for end in 0..body.len() {
            assert!(Message::parse(&body[..end]).is_err());
        }
        let fields: Value = serde_json::from_str(body).unwrap();
        for name in fields.as_object().unwrap().keys() {
            for other in [
                json!(null),
                json!([]),
                json!({}),
                json!("x"),
                json!(-1),
                json!(1e300),
            ] {
                let mut changed = fields.clone();
                changed[name] = other;
                drop(Message::parse(&changed.to_string()));
            }
        }
    }
}
