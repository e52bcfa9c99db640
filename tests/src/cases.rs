//! Cases of compromise, followed until the device is cut off.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};
use crate::delivery::{PATIENCE, deliver};
use crate::inventory::{describe, iot};

/// A report of a device's certificate.
pub fn report(thing: &str, body: &Value) -> Ask {
    Ask::new("POST", format!("/devices/{thing}/certificate/compromise")).text(body.to_string())
}

/// Reports a device's certificate; answers the case.
pub async fn opened(cloud: &Cloud, thing: &str, verdict: &str) -> Value {
    let body = json!({"verdict": verdict, "reason": "a test"});
    deliver(cloud, &report(thing, &body)).await.expect(202)
}

/// A case as the API shows it.
pub async fn case(cloud: &Cloud, id: &str) -> Value {
    let ask = Ask::new("GET", format!("/cases/{id}"));
    cloud.api(&ask).await.expect(200)
}

/// Waits until a case's device is cut off; answers the case.
pub async fn secured(cloud: &Cloud, id: &str) -> Value {
    let started = Instant::now();
    loop {
        let case = case(cloud, id).await;
        if case["securedAt"].is_u64() {
            let found = case["found"].as_array().expect("what was found");
            assert!(found.iter().all(|line| line["clear"] == true), "{case}");
            return case;
        }
        assert!(started.elapsed() < PATIENCE, "not secured: {case}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A certificate's status, and whether a policy hangs on it itself.
pub async fn certificate(cloud: &Cloud, id: &str) -> (String, bool) {
    let answer = describe(cloud, &format!("/certificates/{id}")).await.json();
    let described = &answer["certificateDescription"];
    let status = described["status"].as_str().unwrap_or("GONE").to_owned();
    let arn = described["certificateArn"].as_str().unwrap_or_default();
    let path = format!("/attached-policies/{arn}");
    let policies = iot(cloud, "POST", &path, &Value::Null).await.json();
    let attached = policies["policies"]
        .as_array()
        .is_some_and(|all| !all.is_empty());
    (status, attached)
}
