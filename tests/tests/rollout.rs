//! Jobs: canary, waves, failures, what people do meanwhile in AWS, and those
//! that come late.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::deliver;
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::organisation::put_into;
use lamplighter_tests::removal::deleted;
use lamplighter_tests::rollout::{
    Lights, age_joiner, answered, executions, forecast, runs, seen, started, time_over, told,
    turns, until, uploaded, wave,
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
    assert!(executions(cloud, &format!("{job}-w4")).await.len() == 1);
    // An answer that comes late counts all the same.
    answered(cloud, &second[0], &name, "SUCCEEDED", "").await;
    until(cloud, &job, "counted", |seen| {
        seen["counts"]["succeeded"] == 2
    })
    .await;
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
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    let counts = &done["counts"];
    assert_eq!(
        (&counts["succeeded"], &counts["left"]),
        (&json!(1), &json!(2)),
        "{done}"
    );
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
    until(cloud, &job, "following", |seen| {
        seen["counts"]["succeeded"] == 2
    })
    .await;
    told(cloud, &job, "cancel", json!({})).await;
    until(cloud, &job, "stopped", |seen| seen["status"] == "STOPPED").await;
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
        (
            lights.blink(json!({"group": "none"}), json!({"waves": [1]})),
            404,
            "targets.group",
        ),
        (
            lights.blink(json!({"dynamicGroup": "none"}), json!({"waves": [1]})),
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
        (
            lights.blink(json!({"things": ["no-such-light"]}), json!({"waves": [1]})),
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

    // The same key is the same job, and no other.
    body["dryRun"] = false.into();
    body["idempotencyKey"] = lights.org.of("key").into();
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let job = deliver(cloud, &ask).await.expect(202)["jobId"].clone();
    assert_eq!(deliver(cloud, &ask).await.expect(202)["jobId"], job);
    body["rollout"] = json!({"waves": [1]});
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    deliver(cloud, &ask).await.expect(409);
    let job = job.as_str().expect("an id");
    wave(cloud, job, 1, 2).await;
    told(cloud, job, "cancel", json!({"running": true})).await;
    until(cloud, job, "stopped", |seen| seen["status"] == "STOPPED").await;
    assert_eq!(seen(cloud, job).await["counts"]["targets"], 2);
}
