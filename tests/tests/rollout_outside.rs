//! Jobs of which somebody stops, takes or makes a part in AWS.

use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::rollout::{Lights, answered, executions, started, told, until, wave};
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
