//! What an operator sends.

use serde_json::json;

use super::{MINUTE, spec};
use crate::names::ThingTypeName;
use crate::rollout::spec::{Size, Spec, Window};
use crate::time::Moment;

#[test]
fn what_an_operator_sends() {
    let read = spec(
        json!({"waves": [5, "10%", "50%"], "retries": 3, "perMinute": 500,
        "growing": {"from": 10, "factorTenths": 15, "afterNotified": 50},
        "window": {"opensAtMinute": 60, "minutes": 120}, "lateJoinersPerMinute": 5}),
    );
    assert_eq!(read.waves[0], Size::Count(5));
    let sizes: Vec<_> = (0..4).map(|i| read.wave_size(i, 1234)).collect();
    assert_eq!(sizes, [5, 124, 617, 617]);
    let stored = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&stored).unwrap(), read);
    for (name, value, field) in [
        ("waves", json!([]), "waves"),
        ("waves", json!([0]), "waves[0]"),
        ("waves", json!([5, "0%"]), "waves[1]"),
        ("waves", json!(["101%"]), "waves[0]"),
        ("waves", json!(["ten"]), "waves[0]"),
        ("waves", json!([1.5]), "waves[0]"),
        ("mostFailedPercent", json!(101), "mostFailedPercent"),
        ("perMinute", json!(0), "perMinute"),
        ("perMinute", json!(1001), "perMinute"),
        ("perMinute", json!("10"), "perMinute"),
        (
            "growing",
            json!({"factorTenths": 10}),
            "growing.factorTenths",
        ),
        (
            "growing",
            json!({"factorTenths": 51}),
            "growing.factorTenths",
        ),
        ("growing", json!({"speed": 1}), "growing"),
        ("retries", json!(11), "retries"),
        ("inProgressMinutes", json!(0), "inProgressMinutes"),
        ("inProgressMinutes", json!(10_081), "inProgressMinutes"),
        ("urlSeconds", json!(59), "urlSeconds"),
        ("deadlineMinutes", json!(0), "deadlineMinutes"),
        ("deadlineMinutes", json!(20_000), "deadlineMinutes"),
        ("onFailure", json!("go on"), "onFailure"),
        (
            "window",
            json!({"opensAtMinute": 1440}),
            "window.opensAtMinute",
        ),
        ("lateJoinersPerMinute", json!(0), "lateJoinersPerMinute"),
        ("approval", json!("yes"), "approval"),
        ("startAt", json!(-1), "startAt"),
    ] {
        let mut sent = json!({"waves": [5]});
        sent[name] = value;
        let failure = Spec::read("rollout", sent.clone()).expect_err(&sent.to_string());
        assert_eq!(failure.field, Some(format!("rollout.{field}")), "{sent}");
    }
    assert!(Spec::read("rollout", json!({"waves": [1], "speed": 1})).is_err());
}

#[test]
fn a_window_that_reaches_over_midnight() {
    let window = Window {
        opens_at: 23 * 60,
        minutes: 120,
    };
    let open = |minute: u64| window.next_open(Moment(minute * MINUTE)).0 / MINUTE;
    assert_eq!((open(0), open(59)), (0, 59));
    assert_eq!((open(60), open(1379)), (1380, 1380));
    assert_eq!((open(1380), open(1440 + 59)), (1380, 1499));
}

#[test]
fn a_firmware_is_bound_to_its_type() {
    let name = |name| ThingTypeName::parse(name).unwrap();
    let mut bound = spec(json!({}));
    assert!(bound.admits(None));
    bound.thing_type = Some(name("streetlight"));
    assert!(bound.admits(Some(&name("streetlight"))));
    assert!(!bound.admits(Some(&name("valve"))) && !bound.admits(None));
}

#[test]
fn a_job_starts_within_a_year() {
    let now = Moment(1_800_000_000_000);
    let year = 365 * crate::time::DAY_MILLIS;
    for (start_at, good) in [
        (None, true),
        (Some(0), true),
        (Some(year), true),
        (Some(year + 1), false),
    ] {
        let sent = start_at.map_or(json!({}), |at| json!({"startAt": now.0 + at}));
        let refused = spec(sent).check_start(now).err();
        assert_eq!(refused.is_none(), good, "{start_at:?}");
        let field = refused.and_then(|failure| failure.field);
        assert_eq!(field.is_some_and(|field| field == "rollout.startAt"), !good);
    }
}
