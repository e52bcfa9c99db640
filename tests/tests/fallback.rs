//! A light that runs its new firmware for a while, and then the old one again.

use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::rollout::{Lights, answered, runs, started, until, uploaded, wave};
use serde_json::json;

#[tokio::test]
async fn a_light_that_falls_back_has_not_succeeded() {
    let cloud = &Cloud::open();
    let lights = Lights::new(cloud, 2).await;
    let (image, _) = uploaded(cloud, "the firmware").await;
    let body = json!({
        "template": lights.org.of("firmware"), "targets": lights.all(),
        "parameters": {"version": "2.0.0", "image": image}, "rollout": {"waves": [2]},
    });
    let job = started(cloud, &body).await;
    let (all, name) = (wave(cloud, &job, 1, 2).await, format!("{job}-w1"));
    answered(cloud, &all[0], &name, "IN_PROGRESS", "").await;
    runs(cloud, &all[0], "2.0.0").await;
    until(cloud, &job, "confirmed", |seen| {
        seen["counts"]["succeeded"] == 1
    })
    .await;
    runs(cloud, &all[0], "1.9.0").await;
    until(cloud, &job, "fallen back", |seen| {
        seen["counts"]["succeeded"] == 0
    })
    .await;
    answered(cloud, &all[0], &name, "FAILED", "it did not stay up").await;
    let paused = until(cloud, &job, "paused", |seen| seen["status"] == "PAUSED").await;
    assert_eq!(paused["counts"]["failed"], 1, "{paused}");
}
