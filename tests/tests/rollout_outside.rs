//! Jobs of which somebody stops, takes, makes or forbids a part in AWS.

use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::faults;
use lamplighter_tests::groups::deliver;
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::rollout::{
    Lights, answered, executions, happened, started, told, until, wave,
};
use serde_json::{Value, json};

/// Stops every execution of the workflow that is for this job.
async fn stop_workflow(cloud: &Cloud, job: &str) {
    let machine = cloud.stack("RolloutWorkflowArn");
    let ask = async |verb: &str, body: Value| {
        let target = format!("AWSStepFunctions.{verb}");
        cloud.aws_json("states", &target, &body).await
    };
    let running = json!({"stateMachineArn": machine, "statusFilter": "RUNNING"});
    let listed = ask("ListExecutions", running).await;
    let all = listed["executions"].as_array().expect("a list");
    let ours = all.iter().filter(|one| {
        let name = one["name"].as_str().expect("a name");
        name.starts_with(job)
    });
    let mut stopped = 0;
    for one in ours {
        ask(
            "StopExecution",
            json!({"executionArn": one["executionArn"]}),
        )
        .await;
        stopped += 1;
    }
    assert!(stopped > 0, "{listed}");
}

#[tokio::test]
async fn a_job_whose_workflow_was_stopped_goes_on_when_it_is_resumed() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let job = started(cloud, &lights.blink(lights.all(), json!({"waves": [1]}))).await;
    let canary = wave(cloud, &job, 1, 1).await;
    stop_workflow(cloud, &job).await;
    answered(cloud, &canary[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    // It was not paused: that it goes on is what it is told.
    told(cloud, &job, "resume", json!({})).await;
    let rest = wave(cloud, &job, 2, 1).await;
    answered(cloud, &rest[0], &format!("{job}-w2"), "SUCCEEDED", "").await;
    until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
}

#[tokio::test]
async fn a_strangers_job_is_not_taken_for_a_waves() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let mine = json!({"things": [lights.things[0], lights.things[1]]});
    let rollout = json!({"waves": [1], "approval": true});
    let job = started(cloud, &lights.blink(mine, rollout)).await;
    let canary = wave(cloud, &job, 1, 1).await;
    answered(cloud, &canary[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "awaiting approval", |seen| {
        seen["status"] == "AWAITING_APPROVAL"
    })
    .await;
    let (name, other) = (format!("{job}-w2"), &lights.things[2]);
    let target = format!("arn:aws:iot:us-east-1:000000000000:thing/{other}");
    let body = json!({"targets": [target], "document": r#"{"version": "1.0"}"#});
    iot(cloud, "PUT", &format!("/jobs/{name}"), &body)
        .await
        .expect(200);

    told(cloud, &job, "approve", json!({"wave": 2})).await;
    let paused = until(cloud, &job, "paused", |seen| seen["status"] == "PAUSED").await;
    let reason = paused["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains(&format!("a job {name} of somebody else's")),
        "{paused}"
    );
    assert_eq!(executions(cloud, &name).await, std::slice::from_ref(other));
}

#[tokio::test]
async fn a_strangers_group_is_not_taken_for_a_waves_and_stays() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    // Of this size a wave has a group, however few come.
    let rollout = json!({"waves": [1, 101], "approval": true});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let canary = wave(cloud, &job, 1, 1).await;
    answered(cloud, &canary[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "awaiting approval", |seen| {
        seen["status"] == "AWAITING_APPROVAL"
    })
    .await;
    let path = format!("/thing-groups/{job}-w2");
    let body = json!({"thingGroupProperties": {"thingGroupDescription": "somebody else's"}});
    iot(cloud, "POST", &path, &body).await.expect(200);

    told(cloud, &job, "approve", json!({"wave": 2})).await;
    let paused = until(cloud, &job, "paused", |seen| seen["status"] == "PAUSED").await;
    let reason = paused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("iot:CreateThingGroup"), "{paused}");
    told(cloud, &job, "cancel", json!({})).await;
    until(cloud, &job, "ended", |seen| seen["status"] == "STOPPED").await;
    describe(cloud, &path).await.expect(200);
}

#[tokio::test]
async fn what_was_forbidden_for_a_while_does_not_end_a_job() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 1).await;
    let forbidden = json!({
        "function": cloud.stack("DispatchJobFunction"), "operation": "iot:DescribeThing",
        "thing": lights.things[0], "mode": "deny",
    });
    let forbidden = faults::set(cloud, &forbidden).await;
    let job = started(cloud, &lights.blink(lights.all(), json!({"waves": [1]}))).await;
    let all = wave(cloud, &job, 1, 1).await;
    assert_eq!(faults::fired(cloud, forbidden).await, 1);
    answered(cloud, &all[0], &format!("{job}-w1"), "SUCCEEDED", "").await;
    until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
}

#[tokio::test]
async fn what_had_begun_in_earlier_waves_is_cancelled_too_when_somebody_asks() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 3).await;
    let rollout = json!({"waves": [2], "mostFailedPercent": 10});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let (first, name) = (wave(cloud, &job, 1, 2).await, format!("{job}-w1"));
    answered(cloud, &first[0], &name, "IN_PROGRESS", "").await;
    answered(cloud, &first[1], &name, "FAILED", "").await;
    let status =
        async |status: &str| until(cloud, &job, status, |seen| seen["status"] == status).await;
    let paused = status("PAUSED").await;
    assert_eq!(paused["counts"]["inProgress"], 1, "{paused}");
    let execution = async || {
        let seen = describe(cloud, &format!("/things/{}/jobs/{name}", first[0])).await;
        seen.expect(200)["execution"]["status"].clone()
    };
    told(cloud, &job, "cancel", json!({})).await;
    status("STOPPED").await;
    assert_eq!(execution().await, "IN_PROGRESS");
    told(cloud, &job, "cancel", json!({"running": true})).await;
    let stopped = until(cloud, &job, "cancelled", |seen| {
        seen["status"] == "STOPPED" && seen["counts"]["inProgress"] == 0
    })
    .await;
    assert_eq!(execution().await, "CANCELED");
    let trail = happened(&stopped);
    let end = ["cancelled", "stopped", "cancelled", "stopped"];
    assert!(trail.ends_with(&end.map(str::to_owned)), "{trail:?}");
    // It has another turn like those that waited.
    told(cloud, &job, "retry", json!({})).await;
    assert_eq!(wave(cloud, &job, 2, 2).await, first);
}

#[tokio::test]
async fn a_deleted_job_loses_nobody_whom_aws_would_have_tried_again() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let rollout = json!({"waves": [2], "mostFailedPercent": 100, "retries": 1});
    let job = started(cloud, &lights.blink(lights.all(), rollout)).await;
    let (all, name) = (wave(cloud, &job, 1, 2).await, format!("{job}-w1"));
    answered(cloud, &all[0], &name, "FAILED", "").await;
    until(cloud, &job, "tried again", |seen| {
        seen["counts"]["inProgress"] == 1
    })
    .await;
    let gone = format!("/jobs/{name}?force=true");
    iot(cloud, "DELETE", &gone, &Value::Null).await.expect(200);
    until(cloud, &job, "paused", |seen| seen["status"] == "PAUSED").await;
    told(cloud, &job, "resume", json!({})).await;
    assert_eq!(wave(cloud, &job, 2, 2).await, all);
}

#[tokio::test]
async fn a_deletion_is_noticed_without_a_word_of_its_execution() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let job = started(cloud, &lights.blink(lights.all(), json!({"waves": [2]}))).await;
    let all = wave(cloud, &job, 1, 2).await;
    let word = json!({"eventType": "THING_EVENT", "operation": "DELETED", "thingName": all[0]});
    assert_eq!(deliver(cloud, "DispatchJobFunction", &[word]).await, 0);
    answered(cloud, &all[1], &format!("{job}-w1"), "SUCCEEDED", "").await;
    let done = until(cloud, &job, "done", |seen| seen["status"] == "DONE").await;
    assert_eq!(done["counts"]["removed"], 1, "{done}");
}
