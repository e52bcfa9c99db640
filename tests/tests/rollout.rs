//! Jobs: canary, waves, failures, what people do meanwhile in AWS, and those
//! that come late.

use std::time::{SystemTime, UNIX_EPOCH};

use lamplighter_domain::time::Moment;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::deliver;
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::organisation::put_into;
use lamplighter_tests::removal::deleted;
use lamplighter_tests::rollout::{
    Lights, age_joiner, answered, done, executions, forecast, happened, runs, seen, started,
    time_over, told, turns, until, uploaded, wave,
};
use serde_json::{Value, json};

async fn all_answer(cloud: &Cloud, things: &[String], job: &str, status: &str) {
    for thing in things {
        answered(cloud, thing, job, status, "").await;
    }
}

#[tokio::test]
async fn a_firmware_goes_to_a_canary_then_to_all_and_counts_when_the_shadow_says_so() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 4).await;
    let (image, checksum) = uploaded(cloud, "the firmware").await;
    let body = json!({
        "template": lights.org.of("firmware"), "targets": lights.all(),
        "parameters": {"version": "2.0.0", "image": image},
        // A wave of more than a hundred has a group of its own.
        "rollout": {"waves": [1, 101], "approval": true, "perMinute": 1000},
    });
    let job = started(cloud, &body).await;
    let canary = wave(cloud, &job, 1, 1).await;
    let document = describe(cloud, &format!("/jobs/{job}-w1/job-document"))
        .await
        .expect(200);
    assert!(
        document["document"]
            .as_str()
            .expect("a text")
            .contains(&checksum)
    );

    answered(cloud, &canary[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    let waiting = until(cloud, &job, "unconfirmed", |seen| {
        seen["counts"]["unconfirmed"] == 1
    })
    .await;
    assert_eq!(
        waiting["status"], "RUNNING",
        "it does not run it yet: {waiting}"
    );
    runs(cloud, &canary[0], "2.0.0").await;
    until(cloud, &job, "awaiting approval", |seen| {
        seen["status"] == "AWAITING_APPROVAL"
    })
    .await;
    told(cloud, &job, "approve", json!({"wave": 2})).await;

    let rest = wave(cloud, &job, 2, 3).await;
    let group = format!("/thing-groups/{job}-w2");
    describe(cloud, &group).await.expect(200);
    // These reach the version before they say that they are done.
    for thing in &rest {
        runs(cloud, thing, "2.0.0").await;
    }
    all_answer(cloud, &rest, &format!("{job}-w2"), "SUCCEEDED").await;
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    assert_eq!(done["counts"]["succeeded"], 4, "{done}");
    assert_eq!(
        describe(cloud, &group).await.status,
        404,
        "the wave's group goes"
    );
    for thing in &lights.things {
        assert_eq!(turns(cloud, thing, &job).await.len(), 1, "{thing}");
    }
    // An approval that comes again says nothing new; another one comes too late.
    told(cloud, &job, "approve", json!({"wave": 2})).await;
    for wave in [1, 3] {
        let body = json!({"wave": wave}).to_string();
        let ask = Ask::new("POST", format!("/jobs/{job}/approve")).text(body);
        let refused = deliver(cloud, &ask).await.expect(409);
        assert_eq!(refused["field"], "status", "{refused}");
    }
    let listed = deliver(cloud, &Ask::new("GET", "/jobs?limit=50"))
        .await
        .expect(200);
    let items = listed["items"].as_array().expect("items");
    assert!(items.iter().any(|one| one["jobId"] == *job), "{listed}");

    // Whoever has it is in the group of outdated lights no more, once that knows.
    let outdated = json!({"dynamicGroup": lights.org.of("outdated")});
    forecast(cloud, &lights.blink(outdated, json!({"waves": [1]})), 0).await;
}

#[tokio::test]
async fn a_wave_is_stopped_by_failures_and_the_failed_have_another_turn() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let rollout = json!({"waves": [3], "mostFailedPercent": 10, "retries": 1});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let told_of = wave(cloud, &job, 1, 3).await;
    let name = format!("{job}-w1");
    answered(cloud, &told_of[0], &name, "SUCCEEDED", "").await;
    // AWS tries again after the first; the second failure counts, once.
    for _ in 0..2 {
        answered(cloud, &told_of[1], &name, "FAILED", "flash error at 17").await;
    }
    let paused = until(cloud, &job, "paused", |seen| {
        seen["status"] == "PAUSED" && seen["wave"].is_null()
    })
    .await;
    assert_eq!(
        paused["reason"],
        "wave 1 did not pass: too many of its devices failed"
    );
    let failed = json!([{
        "status": "FAILED", "reason": "flash error at #", "count": 1, "examples": [told_of[1]],
    }]);
    assert_eq!(paused["failures"], failed);
    let aws = describe(cloud, &format!("/jobs/{name}")).await.expect(200);
    assert_eq!(aws["job"]["status"], "CANCELED");

    told(cloud, &job, "resume", json!({})).await;
    // Who had no turn has one now, and nobody else.
    assert_eq!(wave(cloud, &job, 2, 1).await, [told_of[2].clone()]);
    answered(cloud, &told_of[2], &format!("{job}-w2"), "SUCCEEDED", "").await;
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    let counts = &done["counts"];
    assert_eq!(
        (&counts["succeeded"], &counts["failed"]),
        (&2.into(), &1.into()),
        "{done}"
    );

    told(cloud, &job, "retry", json!({})).await;
    assert_eq!(wave(cloud, &job, 3, 1).await, [told_of[1].clone()]);
    answered(cloud, &told_of[1], &format!("{job}-w3"), "SUCCEEDED", "").await;
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    assert_eq!(done["counts"]["succeeded"], 3, "{done}");
    let trail = [
        "asked",
        "waveBegan 1",
        "waveEnded 1",
        "paused",
        "resumed",
        "waveBegan 2",
        "waveEnded 2",
        "done",
        "retried",
        "waveBegan 3",
        "waveEnded 3",
        "done",
    ];
    assert_eq!(happened(&done), trail, "{done}");
    let paused = json!({
        "at": done["events"][3]["at"], "what": "paused", "by": "the job",
        "reason": "wave 1 did not pass: too many of its devices failed: \
                   1 of 3 failed, at most 10% may",
    });
    assert_eq!(done["events"][3], paused);
}

#[tokio::test]
async fn what_people_do_in_aws_is_noticed_and_nothing_hangs() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 4).await;
    let things = json!({"things": lights.things});
    let rollout = json!({"waves": [2], "mostFailedPercent": 100, "leastSucceededPercent": 0});
    let job = started(cloud, &lights.blink(things, rollout)).await;
    let first = wave(cloud, &job, 1, 2).await;
    iot(cloud, "PUT", &format!("/jobs/{job}-w1/cancel"), &json!({}))
        .await
        .expect(200);
    let paused = until(cloud, &job, "paused", |seen| {
        seen["status"] == "PAUSED" && seen["wave"].is_null()
    })
    .await;
    assert_eq!(
        paused["reason"],
        "the job of wave 1 was cancelled or deleted in AWS"
    );
    told(cloud, &job, "resume", json!({})).await;
    assert_eq!(wave(cloud, &job, 2, 2).await, first);

    // One is removed as it is to be, the other's execution is deleted by hand.
    deleted(cloud, &first[0]).await;
    answered(cloud, &first[1], &format!("{job}-w2"), "SUCCEEDED", "").await;
    let second = wave(cloud, &job, 3, 2).await;
    assert!(second.iter().all(|thing| !first.contains(thing)));

    // A pause cancels what has not begun; stopping with force, all.
    let name = format!("{job}-w3");
    answered(cloud, &second[0], &name, "IN_PROGRESS", "").await;
    told(cloud, &job, "pause", json!({})).await;
    until(cloud, &job, "paused", |seen| {
        seen["status"] == "PAUSED" && seen["wave"].is_null()
    })
    .await;
    told(cloud, &job, "resume", json!({})).await;
    // Who has begun goes on there, and is in no other wave.
    assert_eq!(wave(cloud, &job, 4, 1).await, [second[1].clone()]);
    told(cloud, &job, "cancel", json!({"running": true})).await;
    let stopped = until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
    assert_eq!(stopped["reason"], "an operator asked for it");
    let trail = happened(&stopped);
    let trail: Vec<_> = trail.iter().filter(|what| !what.contains("wave")).collect();
    let expected = [
        "asked",
        "paused",
        "resumed",
        "paused",
        "resumed",
        "cancelled",
        "stopped",
    ];
    assert_eq!(trail, expected, "{stopped}");
    assert!(executions(cloud, &format!("{job}-w4")).await.len() == 1);
    let begun = describe(cloud, &format!("/things/{}/jobs/{name}", second[0])).await;
    assert_eq!(begun.expect(200)["execution"]["status"], "CANCELED");
}

#[tokio::test]
async fn who_has_left_the_group_before_its_wave_is_not_told() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let rollout = json!({"waves": [1]});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let canary = wave(cloud, &job, 1, 1).await;
    for thing in lights.things.iter().filter(|thing| **thing != canary[0]) {
        let body = json!({"thingName": thing, "thingGroupName": lights.org.of("navigli")});
        let path = "/thing-groups/removeThingFromThingGroup";
        iot(cloud, "PUT", path, &body).await.expect(200);
    }
    answered(cloud, &canary[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    let done = done(cloud, &job, 1, 2).await;
    let left = &done["failures"][0];
    assert_eq!(
        (&left["status"], &left["count"]),
        (&json!("LEFT"), &json!(2)),
        "{done}"
    );
}

#[tokio::test]
async fn a_dead_light_is_unreached_and_holds_nobody_up() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let rollout = json!({"waves": ["100%"]});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let told_of = wave(cloud, &job, 1, 2).await;
    answered(cloud, &told_of[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "counted", |seen| {
        seen["counts"]["succeeded"] == 1
    })
    .await;
    time_over(cloud, &job).await;
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    assert_eq!(done["counts"]["unreached"], 1, "{done}");
    let aws = describe(cloud, &format!("/jobs/{job}-w1"))
        .await
        .expect(200);
    assert_eq!(aws["job"]["jobProcessDetails"]["numberOfCanceledThings"], 1);
}

#[tokio::test]
async fn who_joins_later_has_a_wave_of_its_own() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 1).await;
    let rollout = json!({"waves": [10], "lateJoinersPerMinute": 2});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let first = wave(cloud, &job, 1, 1).await;
    answered(cloud, &first[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "following", |seen| {
        seen["status"] == "FOLLOWING"
    })
    .await;

    let late = lights.another(cloud, "brera").await;
    // Who was there joins nothing by joining another group below.
    put_into(cloud, &lights.things[0], &lights.org.of("idle")).await;
    until(cloud, &job, "noticed", |seen| {
        seen["counts"]["targets"] == 2
    })
    .await;
    assert!(age_joiner(cloud, &job, &late).await);
    // A wave that came too early for it was empty.
    let told_of = until(cloud, &job, "told", |seen| {
        !seen["wave"]["startedAt"].is_null()
    })
    .await;
    let name = told_of["wave"]["jobId"].as_str().expect("an id");
    assert_eq!(executions(cloud, name).await, std::slice::from_ref(&late));
    let aws = describe(cloud, &format!("/jobs/{name}")).await.expect(200);
    assert_eq!(
        aws["job"]["jobExecutionsRolloutConfig"]["maximumPerMinute"],
        2
    );
    answered(cloud, &late, name, "SUCCEEDED", "").await;
    let following = until(cloud, &job, "following", |seen| {
        seen["status"] == "FOLLOWING" && seen["counts"]["succeeded"] == 2
    })
    .await;
    let events = following["events"].as_array().expect("a trail").iter();
    let late = events.filter(|event| event["what"] == "waveBegan");
    let late: Vec<_> = late.map(|event| event["late"].clone()).collect();
    assert_eq!(late, [0, 1], "{following}");
    told(cloud, &job, "cancel", json!({})).await;
    until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
}

#[tokio::test]
async fn who_waits_for_its_time_says_until_when() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 1).await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let at = Moment(u64::try_from(now.as_millis()).expect("milliseconds")).plus_millis(3_600_000);
    let rollout = json!({"waves": [1], "startAt": at});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let waits = until(cloud, &job, "listed", |seen| seen["counts"]["targets"] == 1).await;
    assert_eq!(waits["waitsUntil"], at.rfc3339(), "{waits}");
    let shown = lamp().args(["job", "show", &job]).output();
    let shown = String::from_utf8(shown.expect("lamp runs").stdout).expect("text");
    assert!(shown.contains(&at.rfc3339()), "{shown}");
    told(cloud, &job, "cancel", json!({})).await;
    let stopped = until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
    assert!(stopped["waitsUntil"].is_null(), "{stopped}");
    assert_eq!(happened(&stopped), ["asked", "cancelled", "stopped"]);
}

/// A page has five thousand at most.
#[tokio::test]
async fn a_dry_run_of_more_than_a_page_names_everybody() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let first = &lights.things[0];
    let strangers = (0..5100).map(|n| format!("{first}-{n:04}"));
    let things: Vec<_> = strangers.chain(lights.things.iter().cloned()).collect();
    let mut body = lights.blink(json!({"things": things}), json!({"waves": [1]}));
    body["dryRun"] = true.into();
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let page = deliver(cloud, &ask).await.expect(200);
    assert_eq!(page["things"], json!([first]), "{}", page["targets"]);
    assert!(page["nextCursor"].is_string() && page["more"] == true);

    let file = std::env::temp_dir().join(format!("{first}.csv"));
    std::fs::write(&file, format!("thingName\n{}\n", things.join("\n"))).expect("a file");
    let output = lamp()
        .args(["job", "run", &lights.org.of("blink"), "--from"])
        .arg(&file)
        .args(["--wave", "1", "--dry-run", "--output", "json"])
        .output()
        .expect("lamp runs");
    std::fs::remove_file(&file).expect("a file");
    let all = documents(&output).pop().expect("an answer");
    let waves = json!([
        {"wave": 1, "size": 1, "things": [lights.things[0]]},
        {"wave": 2, "size": 1, "things": [lights.things[1]]},
    ]);
    assert_eq!((&all["waves"], &all["more"]), (&waves, &json!(false)));
    assert_eq!(all["leftOut"].as_array().map(Vec::len), Some(5100));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_sent() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let (image, _) = uploaded(cloud, "the firmware").await;
    let firmware = |parameters: Value| {
        json!({
            "template": lights.org.of("firmware"), "targets": lights.all(),
            "parameters": parameters, "rollout": {"waves": [1]}, "dryRun": true,
        })
    };
    let blink = |targets: Value| lights.blink(targets, json!({"waves": [1]}));
    let missing = format!("{image}-not-there");
    for (body, status, field) in [
        (firmware(json!({"version": "2.0.0"})), 400, "parameters"),
        (
            firmware(json!({"version": "2.0.0", "image": missing})),
            404,
            "parameters",
        ),
        (
            firmware(json!({"version": "2.0.0", "image": "s3://other/x"})),
            400,
            "parameters",
        ),
        (blink(json!({"group": "none"})), 404, "targets.group"),
        (
            blink(json!({"dynamicGroup": "none"})),
            404,
            "targets.dynamicGroup",
        ),
        (
            json!({"template": "none", "targets": lights.all()}),
            404,
            "template",
        ),
        (
            lights.blink(lights.all(), json!({"waves": []})),
            400,
            "rollout.waves",
        ),
        (
            lights.blink(
                lights.all(),
                json!({"waves": [1], "startAt": 9_999_999_999_999_u64}),
            ),
            400,
            "rollout.startAt",
        ),
        (blink(json!({"things": ["no-such-light"]})), 400, "targets"),
        (
            blink(json!({"query": "attributes.city:nowhere"})),
            400,
            "targets",
        ),
    ] {
        let ask = Ask::new("POST", "/jobs").text(body.to_string());
        let refused = deliver(cloud, &ask).await.expect(status);
        assert_eq!(refused["field"], field, "{refused}");
    }

    // Of things that are named, those that may not get it are told.
    let stranger = "no-such-light".to_owned();
    let mut named = lights.things.clone();
    named.push(stranger.clone());
    let mut body = firmware(json!({"version": "2.0.0", "image": image}));
    body["targets"] = json!({"things": named});
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let forecast = deliver(cloud, &ask).await.expect(200);
    let waves = json!([
        {"wave": 1, "size": 1, "things": [lights.things[0]]},
        {"wave": 2, "size": 1, "things": [lights.things[1]]},
    ]);
    assert_eq!(
        (&forecast["targets"], &forecast["waves"]),
        (&2.into(), &waves)
    );
    assert_eq!(forecast["leftOut"][0]["thingName"], *stranger);

    let query = format!("thingGroupNames:{}", lights.org.of("navigli"));
    let mut body = lights.blink(json!({"query": query}), json!({"waves": ["100%"]}));
    body["dryRun"] = true.into();
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let forecast = deliver(cloud, &ask).await.expect(200);
    assert_eq!(forecast["waves"][0]["things"], json!(lights.things));
}

#[tokio::test]
async fn one_key_is_one_job_and_no_key_is_another_each_time() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let mut body = lights.blink(lights.all(), json!({"waves": ["100%"]}));
    body["idempotencyKey"] = lights.org.of("key").into();
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let job = deliver(cloud, &ask).await.expect(202)["jobId"].clone();
    assert_eq!(deliver(cloud, &ask).await.expect(202)["jobId"], job);
    body["rollout"] = json!({"waves": [1]});
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    deliver(cloud, &ask).await.expect(409);
    // Without one each request is a job of its own.
    body.as_object_mut()
        .expect("a body")
        .remove("idempotencyKey");
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let [one, other] = [0; 2].map(async |_| {
        let job = deliver(cloud, &ask).await.expect(202)["jobId"].clone();
        let id = job.as_str().expect("an id").to_owned();
        told(cloud, &id, "cancel", json!({"running": true})).await;
        id
    });
    assert_ne!(one.await, other.await);
    let job = job.as_str().expect("an id");
    wave(cloud, job, 1, 2).await;
    told(cloud, job, "cancel", json!({"running": true})).await;
    until(cloud, job, "stopped", |seen| seen["status"] == "STOPPED").await;
    assert_eq!(seen(cloud, job).await["counts"]["targets"], 2);
}
