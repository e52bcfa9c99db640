//! Tunnels as data.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::names::OperationId;

fn known() -> BTreeSet<String> {
    BTreeSet::from(["SSH".to_owned(), "VNC".to_owned()])
}

fn body() -> Value {
    json!({"services": ["SSH"], "minutes": 30, "reason": "the lamp does not switch"})
}

fn request(wait: Option<u16>) -> TunnelRequest {
    let mut body = body();
    body["waitMinutes"] = json!(wait);
    TunnelRequest::parse(body.to_string().as_bytes(), None, &known())
        .unwrap()
        .0
}

fn ask(presence: Presence, wait: Option<u16>) -> Result<Tunnel, Failure> {
    let thing = ThingName::parse("milan-1").unwrap();
    let id = TunnelId::from_key("k");
    Tunnel::ask(id, thing, request(wait), presence, "arn:me", Moment(0))
}

#[test]
fn what_is_refused() {
    for (field, value) in [
        ("services", json!([])),
        ("services", json!(["FTP"])),
        ("services", json!(["ssh"])),
        ("services", json!("SSH")),
        ("minutes", json!(0)),
        ("minutes", json!(721)),
        ("minutes", json!(70_000)),
        ("minutes", json!(1.5)),
        ("minutes", Value::Null),
        ("reason", Value::Null),
        ("reason", json!(" ")),
        ("reason", json!("a\nb")),
        ("reason", json!("a\u{202e}b")),
        ("reason", json!("x".repeat(501))),
        ("waitMinutes", json!(0)),
        ("waitMinutes", json!(1441)),
    ] {
        let mut sent = body();
        sent[field] = value;
        let read = TunnelRequest::parse(sent.to_string().as_bytes(), None, &known());
        let failure = read.expect_err(&sent.to_string());
        assert_eq!(failure.field.as_deref(), Some(field), "{sent}: {failure}");
    }
    for minutes in [1, 720] {
        assert_eq!(
            u64::from(request::Minutes::new(minutes).unwrap().get()),
            minutes
        );
    }
    let mut more = body();
    more["port"] = json!(22);
    assert!(TunnelRequest::parse(more.to_string().as_bytes(), None, &known()).is_err());
}

#[test]
fn a_device_that_is_not_there_is_refused_or_waited_for() {
    let failure = ask(Presence::Disconnected, None).unwrap_err();
    assert_eq!(
        (failure.http_status(), failure.field.as_deref()),
        (409, Some("thingName"))
    );
    let minute = |n: u64| Moment(n * MINUTE_MILLIS);
    let queued = ask(Presence::Disconnected, Some(60)).unwrap();
    assert_eq!(queued.next(), Next::AwaitDevice(minute(60)));
    let opening = queued.clone().settle(minute(59)).connected(minute(59));
    assert_eq!(opening.next(), Next::Open);
    let open = opening.opened("aws-1", minute(59)).unwrap();
    assert_eq!(
        open.next(),
        Next::Expires(minute(89)),
        "its minutes begin when it opens"
    );
    let ended = queued.settle(minute(60)).connected(minute(60));
    assert_eq!(
        (ended.next(), ended.ending),
        (Next::Ended, Some(Ending::NeverConnected))
    );
}

#[test]
fn one_at_a_time_opens_it_and_nobody_for_ever() {
    let asked = ask(Presence::Connected, None).unwrap();
    let taken = asked.take_up(Moment(0), Moment(30_000)).unwrap();
    let other = taken.clone().take_up(Moment(29_001), Moment(60_000));
    assert_eq!(other.unwrap_err().retry_after, Some(1));
    let down = taken.clone().put_down(Moment(5_000));
    assert!(down.clone().take_up(Moment(5_000), Moment(9_000)).is_ok());
    for (tunnel, last) in [(down, 5_000), (taken, 30_000)] {
        let limit = Moment(last + PATIENCE_MILLIS);
        let before = tunnel.clone().settle(Moment(limit.0 - 1));
        assert_eq!(before.next(), Next::Open);
        let after = tunnel.settle(limit);
        assert_eq!(after.ending, Some(Ending::Abandoned));
        assert!(after.may_linger());
    }
}

#[test]
fn an_end_that_time_brings_is_the_same_whenever_somebody_looks() {
    let queued = ask(Presence::Disconnected, Some(60)).unwrap();
    let opening = ask(Presence::Connected, None).unwrap();
    let taken = opening.clone().take_up(Moment(0), Moment(30_000)).unwrap();
    let open = opening.opened("aws-1", Moment(5)).unwrap();
    for (tunnel, end) in [
        (queued, 60 * MINUTE_MILLIS),
        (taken, 30_000 + PATIENCE_MILLIS),
        (open, 30 * MINUTE_MILLIS + 5),
    ] {
        let first = tunnel.clone().settle(Moment(end));
        assert_eq!(first.events.last().unwrap().at, Moment(end), "{first:?}");
        assert_eq!(tunnel.settle(Moment(end + 7 * MINUTE_MILLIS)), first);
    }
}

#[test]
fn the_same_key_asks_for_the_same() {
    let tunnel = ask(Presence::Connected, None).unwrap();
    let (thing, other) = (tunnel.thing_name.clone(), ThingName::parse("x").unwrap());
    assert!(tunnel.asked_again(&thing, &request(None)).is_ok());
    assert!(tunnel.asked_again(&other, &request(None)).is_err());
    assert!(tunnel.asked_again(&thing, &request(Some(5))).is_err());
}

#[test]
fn what_ends_with_its_device_says_so() {
    let operation = OperationId::from_random([1; 16]);
    let deletion = format!("deletion {operation}");
    let record = |more: Value| -> DeviceRecord {
        let mut record = json!({
            "thingName": "milan-1", "groups": [], "status": "ACTIVE", "custody": "device",
            "createdBy": operation, "operationId": operation, "createdAt": 0, "listingShard": "",
        });
        let fields = record.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    };
    let thing = ThingName::parse("milan-1").unwrap();
    for (device, admitted, by) in [
        (Some(record(json!({}))), true, None),
        (None, false, Some("a deletion")),
        (
            Some(record(json!({"status": "DELETING"}))),
            false,
            Some(deletion.as_str()),
        ),
        (
            Some(record(json!({"createdAt": 1}))),
            true,
            Some("a deletion"),
        ),
        (
            Some(record(
                json!({"caseId": "case-00000000000000000000000000000000"}),
            )),
            false,
            Some("case case-00000000000000000000000000000000"),
        ),
    ] {
        assert_eq!(admit(&thing, device.as_ref()).is_ok(), admitted);
        let open = ask(Presence::Connected, None).unwrap();
        let open = open.opened("aws-1", Moment(0)).unwrap();
        let gone = open.vanished(device.as_ref(), Moment(7));
        let ending = match by {
            Some(by) if by.starts_with("case") => Ending::Compromised,
            Some(_) => Ending::DeviceRemoved,
            None => Ending::ClosedOutside,
        };
        let last = gone.events.last().unwrap();
        assert_eq!(
            (gone.ending, last.by.as_str()),
            (Some(ending), by.unwrap_or("AWS"))
        );
    }
}

#[test]
fn services_of_a_stack() {
    let read = |text| request::known_services(text).map(Vec::from_iter);
    assert_eq!(read("SSH, VNC").unwrap(), ["SSH", "VNC"]);
    for wrong in ["", "SSH,", "S S"] {
        read(wrong).unwrap_err();
    }
}

#[test]
fn a_record_tells_the_whole_story() {
    let minute = |n: u64| Moment(n * MINUTE_MILLIS);
    let asked = ask(Presence::Connected, None).unwrap();
    assert_eq!(asked.next(), Next::Open);
    assert!(asked.is_described_by(&asked.description()));
    let other = TunnelId::from_key("other");
    assert!(!asked.is_described_by(&format!("{} x", other.as_str())));
    assert!(asked.clone().rotate("arn:me", minute(1)).is_err());
    let open = asked.opened("aws-1", minute(1)).unwrap();
    let open = open.rotate("arn:you", minute(5)).unwrap();
    assert_eq!(
        open.next(),
        Next::Expires(minute(31)),
        "rotation gives no more time"
    );
    let closed = open.clone().close(Ending::Closed, "arn:me", minute(9));
    let told: Vec<_> = closed
        .events
        .iter()
        .map(|e| (e.at.0 / MINUTE_MILLIS, e.what.as_str(), e.by.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (0, "asked", "arn:me"),
            (1, "opened", "AWS"),
            (5, "rotated", "arn:you"),
            (9, "closed", "arn:me")
        ]
    );
    assert_eq!(
        serde_json::from_value::<Tunnel>(json!(closed)).unwrap(),
        closed
    );

    // Closed stays closed.
    let again = closed.clone().close(Ending::Expired, "time", minute(10));
    assert_eq!(again, closed);
    assert!(closed.clone().rotate("arn:me", minute(10)).is_err());
    assert!(closed.clone().opened("aws-2", minute(10)).is_err());
    assert_eq!(
        closed.clone().connected(minute(10)).settle(minute(60)),
        closed
    );

    // What AWS closes by itself is recorded at its time, whenever it is seen.
    let expired = open.clone().settle(minute(500));
    let last = expired.events.last().unwrap();
    assert_eq!(
        (expired.ending, last.at),
        (Some(Ending::Expired), minute(31))
    );
    assert!(open.rotate("arn:me", minute(31)).is_err());
}

#[test]
fn however_often_it_is_rotated_the_record_stays_small() {
    let mut tunnel = ask(Presence::Connected, None)
        .unwrap()
        .opened("aws-1", Moment(0))
        .unwrap();
    for n in 0..500 {
        tunnel = tunnel.rotate("arn:me", Moment(n)).unwrap();
    }
    let tunnel = tunnel.close(Ending::Closed, "arn:me", Moment(500));
    assert!(tunnel.events.len() <= MOST_EVENTS + 1);
    assert_eq!(tunnel.events.last().unwrap().what, "closed");
}

#[test]
fn a_token_is_in_no_log() {
    let token = Token::new("AQGAAXh-secret".to_owned());
    assert_eq!(format!("{token:?}"), "Token(…)");
    assert_eq!(token.hand_out(), "AQGAAXh-secret");
}
