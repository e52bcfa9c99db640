//! Invariant 4: a private key is in no log, even at TRACE, no row and no queue.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, unique};
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

/// Everything that waits in a queue: events that a function failed on.
async fn queues(cloud: &Cloud) -> String {
    let call = async |operation: &str, body: Value| {
        let ask = Ask::new("POST", "/")
            .text(body.to_string())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{operation}"));
        cloud.aws("sqs", &ask).await.expect(200)
    };
    let urls = call("ListQueues", json!({})).await;
    let mut all = String::new();
    for url in urls["QueueUrls"].as_array().expect("the stack's queues") {
        let body = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0});
        all.push_str(&call("ReceiveMessage", body).await.to_string());
    }
    all
}

/// A text as `Debug` prints its bytes.
fn as_numbers(text: &str) -> String {
    let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    numbers.join(", ")
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
        logged.contains(r#""level":"TRACE""#),
        "the functions do not log at TRACE: deploy with LogLevel=trace"
    );
    assert!(logged.contains(&thing), "the functions' logs were read");
    let queued = queues(&cloud).await;
    for (place, text) in [
        ("the registry", &registry),
        ("a log", &logged),
        ("a queue", &queued),
    ] {
        for line in &lines {
            assert!(
                !text.contains(*line) && !text.contains(&as_numbers(line)),
                "a line of the private key is in {place}"
            );
        }
    }
}

/// What a caller should not have sent is refused, and neither repeated to the
/// caller nor kept anywhere.
#[tokio::test]
async fn a_key_sent_by_mistake_shows_nowhere() {
    let cloud = Cloud::open();
    let thing = unique("mistake");
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let lines: Vec<_> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let csr = Key::make(&thing).csr;
    for body in [
        json!({"thingName": thing, "csr": format!("{csr}{key}")}),
        json!({"thingName": thing, "attributes": key}),
        json!({"thingName": key}),
        json!({"thingName": format!("{}/", lines[0])}),
    ] {
        let reply = cloud.api(&Ask::create(&body)).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        for line in &lines {
            assert!(!reply.text.contains(*line), "{}", reply.text);
        }
    }
    created(&cloud, &json!({"thingName": thing})).await;
    let token = unique("replay");
    let ask = Ask::credentials(&thing).header("idempotency-key", &token);
    cloud.api(&ask).await.expect(200);

    let registry = Value::from(rows(&cloud).await).to_string();
    let logged = logs(&cloud).await;
    let queued = queues(&cloud).await;
    for text in [&registry, &logged, &queued] {
        for secret in lines.iter().copied().chain([token.as_str()]) {
            assert!(!text.contains(secret), "{secret:.8}… shows");
        }
    }
}
