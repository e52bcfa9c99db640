//! Mass stop: every device under a shared policy stopped by one switch, and let
//! go on by another.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::describe;
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::running::{Running, of};
use serde_json::{Value, json};

async fn document(cloud: &Cloud, policy: &str) -> Value {
    let policy = describe(cloud, &format!("/policies/{policy}")).await;
    let text = policy.expect(200)["policyDocument"].clone();
    serde_json::from_str(text.as_str().expect("a document")).expect("JSON")
}

fn said(arguments: &[&str]) -> Value {
    let output = lamp()
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .expect("lamp runs");
    assert!(output.status.success(), "{output:?}");
    documents(&output).remove(0)
}

/// How often a device connects in the seconds after it was let in or refused.
async fn connections(thing: &str, keys: &Path) -> usize {
    let device = Running::start(thing, keys, &[]);
    let told = |line: &Value| line["event"] == "connected" || line["event"] == "refused";
    device.says_what(told).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    of(&device.stop(), "connected").len()
}

#[tokio::test]
async fn a_stopped_policy_stops_its_devices_and_the_catalog_leaves_it_alone() {
    let cloud = Cloud::open();
    let allowed = document(&cloud, cloud.stack("DefaultGroup")).await;
    let (policy, near, far) = (unique("shared"), unique("near"), unique("far"));
    let catalog = json!({
        "name": policy,
        "policies": [{"name": policy, "document": allowed}],
        "groups": [{"name": near, "policies": [policy]}, {"name": far, "policies": [policy]}],
    });
    let apply = Ask::new("PUT", "/catalog").text(catalog.to_string());
    cloud.api(&apply).await.expect(200);
    let (thing, keys) = (unique("stopped"), std::env::temp_dir().join(unique("keys")));
    let made = lamp()
        .args(["device", "create", &thing, "--group", &near, "--keys-dir"])
        .arg(&keys)
        .output()
        .expect("lamp runs");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(connections(&thing, &keys).await, 1);

    let dry = said(&["policy", "stop", &policy, "--dry-run"]);
    assert_eq!(dry["groups"], json!({&near: 1, &far: 0}), "{dry}");
    assert_eq!(
        (&dry["devices"], &dry["status"]),
        (&json!(1), &json!("DRY_RUN"))
    );
    assert_eq!(document(&cloud, &policy).await, allowed);

    let reason = ["--reason", "a bad firmware"];
    for _ in 0..2 {
        let stopped = said(&[&["policy", "stop", &policy][..], &reason].concat());
        assert_eq!(stopped["status"], "STOPPED", "{stopped}");
        assert_eq!(stopped["lock"]["reason"], "a bad firmware", "{stopped}");
    }
    assert_eq!(
        document(&cloud, &policy).await["Statement"][0]["Effect"],
        "Deny"
    );
    assert_eq!(connections(&thing, &keys).await, 0);
    let applied = cloud.api(&apply).await.expect(200);
    assert_eq!(applied["kept"][0]["name"], *policy, "{applied}");
    assert_eq!(
        document(&cloud, &policy).await["Statement"][0]["Effect"],
        "Deny"
    );

    for _ in 0..2 {
        assert_eq!(said(&["policy", "resume", &policy])["status"], "RESUMED");
    }
    assert_eq!(document(&cloud, &policy).await, allowed);
    assert_eq!(connections(&thing, &keys).await, 1);
    cloud.api(&apply).await.expect(200);

    // The version that stops is kept, and used again.
    said(&[&["policy", "stop", &policy][..], &reason].concat());
    said(&["policy", "resume", &policy]);
    let versions = describe(&cloud, &format!("/policies/{policy}/version")).await;
    let versions = versions.expect(200)["policyVersions"].clone();
    assert_eq!(versions.as_array().map(Vec::len), Some(2), "{versions}");
    let _ = fs::remove_dir_all(&keys);
}

#[tokio::test]
async fn what_cannot_be_stopped_is_refused() {
    let cloud = Cloud::open();
    let stop = |policy: &str, body: &Value| {
        Ask::new("POST", format!("/policies/{policy}/stop")).text(body.to_string())
    };
    let reason = json!({"reason": "a test"});
    cloud.api(&stop(&unique("none"), &reason)).await.expect(404);
    cloud
        .api(&stop(&unique("none"), &json!({})))
        .await
        .expect(400);
}
