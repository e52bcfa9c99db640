//! Jobs and dynamic groups: to the members, to those that enter later, and by the
//! definition itself to whoever enters.

use lamplighter_tests::cloud::{Ask, Cloud, Reply};
use lamplighter_tests::delivery::deliver;
use lamplighter_tests::groups;
use lamplighter_tests::inventory::{describe, row};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::rollout::{
    Lights, age_joiner, answered, done, executions, forecast, happened, runs, seen, started, told,
    turns, until, wave,
};
use serde_json::{Value, json};

/// Puts a group of the lights whose shadow reports a firmware.
async fn put(cloud: &Cloud, lights: &Lights, firmware: &str, job: Option<&str>) -> Reply {
    let query = format!(
        "thingTypeName:{} AND shadow.reported.firmware_version:{firmware}",
        lights.org.of("type")
    );
    let mut body = json!({ "query": query });
    if let Some(job) = job {
        body["onEnter"] = json!({"job": lights.org.of(job)});
    }
    let path = format!("/groups/{}", lights.org.of("slow"));
    let ask = Ask::new("PUT", path).text(body.to_string());
    deliver(cloud, &ask).await
}

/// Tells the function as the bus does, by the queue, that a light has entered.
async fn entered(cloud: &Cloud, group: &str, thing: &str, job: bool) {
    let mut detail = json!({"group": group, "thingName": thing});
    if job {
        detail["job"] = "any".into();
    }
    let body = json!({"detail-type": "GroupEntered", "detail": detail});
    let record = json!({"messageId": "1", "body": body.to_string(), "eventSource": "aws:sqs"});
    let function = cloud.stack("DispatchJobFunction");
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let ask = Ask::new("POST", path).text(json!({"Records": [record]}).to_string());
    let answer = cloud.aws("lambda", &ask).await.expect(200);
    assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
}

/// Lets one who came late have its turn, and answer; the wave's job in AWS.
async fn has_its_turn(cloud: &Cloud, job: &str, thing: &str) -> String {
    groups::until(async || {
        let aged = age_joiner(cloud, job, thing).await;
        aged.then_some(())
            .ok_or_else(|| format!("{thing} is not listed"))
    })
    .await;
    let told_of = until(cloud, job, "told", |seen| {
        !seen["wave"]["startedAt"].is_null()
    })
    .await;
    let name = told_of["wave"]["jobId"].as_str().expect("an id").to_owned();
    assert_eq!(executions(cloud, &name).await, [thing], "{told_of}");
    answered(cloud, thing, &name, "SUCCEEDED", "").await;
    name
}

async fn jobs_of(cloud: &Cloud, thing: &str, query: &str) -> Value {
    let ask = Ask::new("GET", format!("/devices/{thing}/jobs{query}"));
    cloud.api(&ask).await.expect(200)
}

#[tokio::test]
async fn members_have_a_job_and_so_has_who_enters_later_once() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let [first, late, never] = &lights.things[..] else {
        panic!("{lights:?}");
    };
    runs(cloud, first, "1.0.0").await;
    put(cloud, &lights, "1.0.0", None).await.expect(202);
    let group = lights.org.of("slow");
    let rollout = json!({"waves": [10], "lateJoinersPerMinute": 2});
    let body = lights.blink(json!({"dynamicGroup": group}), rollout);
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let building = cloud.api(&ask).await.expect(409);
    assert_eq!(building["field"], "targets.dynamicGroup", "{building}");

    let expected = forecast(cloud, &body, 1).await;
    assert_eq!(expected["waves"][0]["things"], json!([first]));
    let job = started(cloud, &body).await;
    assert_eq!(wave(cloud, &job, 1, 1).await, std::slice::from_ref(first));
    answered(cloud, first, &format!("{job}-w1"), "SUCCEEDED", "").await;
    let following = |seen: &Value| seen["status"] == "FOLLOWING";
    until(cloud, &job, "following", following).await;

    runs(cloud, late, "1.0.0").await;
    let name = has_its_turn(cloud, &job, late).await;
    let aws = describe(cloud, &format!("/jobs/{name}")).await.expect(200);
    let rate = &aws["job"]["jobExecutionsRolloutConfig"]["maximumPerMinute"];
    assert_eq!(rate, 2);
    until(cloud, &job, "following", |seen| {
        following(seen) && seen["counts"]["succeeded"] == 2
    })
    .await;
    // Told twice, and told of one that has left again, it lists nobody.
    for thing in [first, late, never] {
        entered(cloud, &group, thing, false).await;
    }
    assert_eq!(seen(cloud, &job).await["counts"]["targets"], 2);
    told(cloud, &job, "cancel", json!({})).await;
    until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
    for (thing, count) in [(first, 1), (late, 1), (never, 0)] {
        assert_eq!(turns(cloud, thing, &job).await.len(), count, "{thing}");
    }
}

/// Of three that report a firmware, the second reports another one while the
/// job waits after the first.
async fn one_leaves_between_two_waves(cloud: &Cloud, lights: &Lights, targets: Value) {
    let [canary, leaves, stays] = &lights.things[..] else {
        panic!("{lights:?}");
    };
    runs(cloud, leaves, "1.0.0").await;
    let body = lights.blink(targets, json!({"waves": [1], "approval": true}));
    forecast(cloud, &body, 3).await;
    let job = started(cloud, &body).await;
    assert_eq!(wave(cloud, &job, 1, 1).await, std::slice::from_ref(canary));
    answered(cloud, canary, &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "awaiting approval", |seen| {
        seen["status"] == "AWAITING_APPROVAL"
    })
    .await;

    runs(cloud, leaves, "2.0.0").await;
    forecast(cloud, &body, 2).await;
    told(cloud, &job, "approve", json!({"wave": 2})).await;
    assert_eq!(wave(cloud, &job, 2, 1).await, std::slice::from_ref(stays));
    answered(cloud, stays, &format!("{job}-w2"), "SUCCEEDED", "").await;
    let done = done(cloud, &job, 2, 1).await;
    let left = json!([{
        "status": "LEFT", "reason": "it had left the targets before its turn", "count": 1,
        "examples": [leaves],
    }]);
    assert_eq!(done["failures"], left);
    assert!(turns(cloud, leaves, &job).await.is_empty());
    let trail = [
        "asked",
        "waveBegan 1",
        "waveEnded 1",
        "awaitsApproval 2",
        "approved 2",
        "waveBegan 2",
        "waveEnded 2",
        "done",
    ];
    assert_eq!(happened(&done), trail, "{done}");
    for event in [0, 4] {
        let by = &done["events"][event]["by"];
        assert_eq!(*by, done["startedBy"], "{done}");
    }
}

#[tokio::test]
async fn who_leaves_between_two_waves_is_not_told() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    for thing in &lights.things {
        runs(cloud, thing, "1.0.0").await;
    }
    put(cloud, &lights, "1.0.0", None).await.expect(202);
    let group = json!({"dynamicGroup": lights.org.of("slow")});
    one_leaves_between_two_waves(cloud, &lights, group).await;
    let query = format!(
        "thingTypeName:{} AND shadow.reported.firmware_version:1.0.0",
        lights.org.of("type")
    );
    one_leaves_between_two_waves(cloud, &lights, json!({"query": query})).await;
}

#[tokio::test]
async fn a_definition_gives_its_job_to_whoever_enters_once() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let [one, other, stranger] = &lights.things[..] else {
        panic!("{lights:?}");
    };
    // Nobody would give this one's parameters.
    let refused = put(cloud, &lights, "1.1.0", Some("firmware")).await;
    let refused = refused.expect(400);
    assert_eq!(refused["field"], "onEnter.job", "{refused}");
    let reason = refused["reason"].as_str().expect("a reason");
    for named in [&lights.org.of("slow"), &lights.org.of("firmware"), "image"] {
        assert!(reason.contains(named), "{reason}");
    }

    let given = put(cloud, &lights, "1.1.0", Some("blink")).await;
    given.expect(202);
    let group = lights.org.of("slow");
    runs(cloud, one, "1.1.0").await;
    let job = groups::until(async || {
        let row = row(cloud, &format!("GROUP#{group}"), "ON_ENTER").await;
        let id = row["rolloutId"]["S"].as_str().map(str::to_owned);
        id.ok_or_else(|| "it has no job yet".to_owned())
    })
    .await;
    let name = has_its_turn(cloud, &job, one).await;
    until(cloud, &job, "done by one", |seen| {
        seen["status"] == "FOLLOWING" && seen["counts"]["succeeded"] == 1
    })
    .await;
    // It leaves and enters again; another enters for the first time.
    runs(cloud, one, "2.0.0").await;
    groups::until_in(cloud, one, &group, &[]).await;
    runs(cloud, one, "1.1.0").await;
    runs(cloud, other, "1.1.0").await;
    has_its_turn(cloud, &job, other).await;
    until(cloud, &job, "done by both", |seen| {
        seen["status"] == "FOLLOWING" && seen["counts"]["succeeded"] == 2
    })
    .await;
    for thing in [one, other] {
        entered(cloud, &group, thing, true).await;
        assert_eq!(turns(cloud, thing, &job).await.len(), 1, "{thing}");
    }
    assert_eq!(seen(cloud, &job).await["counts"]["targets"], 2);

    let mine = jobs_of(cloud, one, "").await;
    let item = &mine["items"][0];
    assert_eq!(
        (&item["jobId"], &item["status"], &item["waveJobId"]),
        (&json!(job), &json!("SUCCEEDED"), &json!(name)),
        "{mine}"
    );
    assert_eq!(jobs_of(cloud, stranger, "").await, json!({"items": []}));
    let nobody = Ask::new("GET", "/devices/no-such-light/jobs");
    cloud.api(&nobody).await.expect(404);

    // Stopped, it stays stopped.
    told(cloud, &job, "cancel", json!({})).await;
    until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
    runs(cloud, stranger, "1.1.0").await;
    groups::until_in(cloud, stranger, &group, std::slice::from_ref(&group)).await;
    groups::until(async || {
        let path = format!("/groups/{group}/members");
        let members = groups::all(cloud, &path, "thingName", 10).await;
        let known = members.contains(stranger);
        known.then_some(()).ok_or_else(|| format!("{members:?}"))
    })
    .await;
    entered(cloud, &group, stranger, true).await;
    let row = row(cloud, &format!("GROUP#{group}"), "ON_ENTER").await;
    assert_eq!(row["rolloutId"]["S"], job, "{row}");
    assert!(turns(cloud, stranger, &job).await.is_empty());
}

#[tokio::test]
async fn the_jobs_of_one_device_are_listed_the_newest_first() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let [light, other] = &lights.things[..] else {
        panic!("{lights:?}");
    };
    let mut expected = Vec::new();
    for (thing, status) in [
        (light, "SUCCEEDED"),
        (other, "SUCCEEDED"),
        (light, "FAILED"),
    ] {
        let body = lights.blink(json!({"things": [thing]}), json!({"waves": [1]}));
        let job = started(cloud, &body).await;
        wave(cloud, &job, 1, 1).await;
        answered(cloud, thing, &format!("{job}-w1"), status, "no space").await;
        if thing == light {
            until(cloud, &job, "over", |seen| seen["wave"].is_null()).await;
            expected.insert(0, json!([job, status]));
        }
    }
    let told = |page: &Value| {
        let items = page["items"].as_array().expect("items").iter();
        let told = items.map(|item| json!([item["jobId"], item["status"]]));
        told.collect::<Vec<_>>()
    };
    let all = jobs_of(cloud, light, "").await;
    assert_eq!(told(&all), expected, "{all}");
    assert_eq!(all["items"][0]["reason"], "no space", "{all}");

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = jobs_of(cloud, light, &format!("?limit=1{cursor}")).await;
        found.extend(told(&page));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('#', "%23")),
            None => break,
        }
    }
    assert_eq!(found, expected);
    let output = lamp()
        .args(["job", "list", "--output", "json", "--device", light])
        .output()
        .expect("lamp runs");
    let listed = documents(&output).pop().unwrap_or_default();
    assert_eq!(listed["items"], all["items"], "{output:?}");
}
