//! Invariant 4: a private key is in no log, no row and no queue.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::rows;
use serde_json::{Value, json};

/// Everything that the functions have logged.
async fn logs(cloud: &Cloud) -> String {
    let call = async |operation: &str, body: Value| {
        let ask = Ask::new("POST", "/")
            .text(body.to_string())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Logs_20140328.{operation}"));
        cloud.aws("logs", &ask).await.expect(200)
    };
    let groups = call("DescribeLogGroups", json!({})).await;
    let mut all = String::new();
    for group in groups["logGroups"].as_array().expect("log groups") {
        let mut body = json!({"logGroupName": group["logGroupName"]});
        loop {
            let page = call("FilterLogEvents", body.clone()).await;
            for event in page["events"].as_array().expect("events") {
                all.push_str(event["message"].as_str().unwrap_or_default());
                all.push('\n');
            }
            if page["nextToken"].is_null() {
                break;
            }
            body["nextToken"] = page["nextToken"].clone();
        }
    }
    all
}

#[tokio::test]
async fn a_key_made_here_shows_nowhere() {
    let cloud = Cloud::open();
    let thing = unique("canary");
    created(&cloud, &json!({"thingName": thing})).await;
    let reply = cloud.api(&Ask::credentials(&thing)).await;
    let credentials = reply.expect(200);
    cloud.api(&Ask::credentials(&thing)).await.expect(410);
    let pem = credentials["privateKeyPem"].as_str().expect("a key");
    let lines: Vec<_> = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    assert!(!lines.is_empty());

    let registry = Value::from(rows(&cloud).await).to_string();
    assert!(registry.contains(&thing), "the registry was read");
    let logged = logs(&cloud).await;
    assert!(
        !logged.is_empty(),
        "the refused second fetch was not logged"
    );
    for (place, text) in [("the registry", &registry), ("a log", &logged)] {
        for line in &lines {
            assert!(
                !text.contains(*line),
                "a line of the private key is in {place}"
            );
        }
    }
}
