//! Invariant 4: a private key is in no log, even at TRACE, no row, no queue and
//! no workflow's history, from the device's creation over its renewal to its end.

use std::time::SystemTime;

use lamplighter_domain::csr::sha256_hex;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver};
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::enrolment::{Lost, enrolment, sent};
use lamplighter_tests::inventory::{row, rows};
use lamplighter_tests::removal::{deleted, ended};
use lamplighter_tests::rotation::{Event, Light, delivered};
use lamplighter_tests::tunnels;
use serde_json::{Value, json};

/// Everything that the functions have logged since a moment, in milliseconds.
async fn logs(cloud: &Cloud, since: u128) -> String {
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
        let mut body = json!({"logGroupName": group["logGroupName"], "startTime": since});
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

fn now() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis()
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

/// All that a workflow remembers of one execution.
async fn history(cloud: &Cloud, workflow: &str, name: &str) -> String {
    let machine = cloud.stack(workflow);
    let execution = format!(
        "{}:{name}",
        machine.replace(":stateMachine:", ":execution:")
    );
    let mut ask = json!({"executionArn": execution, "includeExecutionData": true});
    let mut all = String::new();
    loop {
        let target = "AWSStepFunctions.GetExecutionHistory";
        let page = cloud.aws_json("states", target, &ask).await;
        all.push_str(&page["events"].to_string());
        if page["nextToken"].is_null() {
            return all;
        }
        ask["nextToken"] = page["nextToken"].clone();
    }
}

/// A device's sealed key, as it lies in the bucket.
async fn sealed(cloud: &Cloud, thing: &str, certificate: &str) -> Value {
    let record = row(
        cloud,
        &format!("DEVICE#{thing}"),
        &format!("CERT#{certificate}"),
    )
    .await;
    let object = record["keyObject"]["S"].as_str().expect("a key object");
    let path = format!("/{}/{object}", cloud.stack("CustodyBucket"));
    cloud.aws("s3", &Ask::new("GET", path)).await.expect(200)
}

/// Renews the device's certificate through the workflow; answers the rotation.
async fn renewed(cloud: &Cloud, thing: &str, old: &str) -> String {
    let light = Light::renewing(cloud, thing, old).await;
    delivered(cloud, &light.event(cloud, Event::Request).await, None).await;
    light.reaches(cloud, "ISSUED").await;
    delivered(cloud, &light.event(cloud, Event::Proof).await, None).await;
    assert_eq!(ended(cloud, &light.rotation).await, "DONE");
    light.rotation
}

/// The lines of a P-256 key in PKCS #8 that its private half is in. The third is
/// of the public half alone, which a signing request and a certificate show.
fn private_lines(pem: &str) -> impl Iterator<Item = &str> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.take(2)
}

/// Renews the device by a hand-out; answers the rotation, its key, and what that
/// was sealed in.
async fn handed_out(cloud: &Cloud, thing: &str) -> (String, String, Value) {
    let path = format!("/devices/{thing}/certificate/renewal");
    let body = json!({"custody": "vault"}).to_string();
    let answer = deliver(cloud, &Ask::new("POST", path).text(body)).await;
    let answer = answer.expect(202);
    let rotation = answer["operationId"].as_str().expect("an id");
    let credentials = deliver(cloud, &Ask::credentials(thing)).await.expect(200);
    assert_eq!(credentials["rotationId"], rotation);
    let text = |name: &str| credentials[name].as_str().expect("a text").to_owned();
    let (new, key) = (text("certificateId"), text("privateKeyPem"));
    let sealed = sealed(cloud, thing, &new).await;
    let light = Light {
        thing: thing.to_owned(),
        old: String::new(),
        rotation: rotation.to_owned(),
        key: Key::make(thing),
    };
    delivered(cloud, &light.says("proof", &new), None).await;
    assert_eq!(ended(cloud, rotation).await, "DONE");
    (rotation.to_owned(), key, sealed)
}

#[tokio::test]
async fn a_key_made_here_shows_nowhere() {
    let cloud = Cloud::open();
    let since = now();
    let thing = unique("canary");
    let device = created(&cloud, &json!({"thingName": thing})).await;
    let reply = cloud.api(&Ask::credentials(&thing)).await;
    let credentials = reply.expect(200);
    cloud.api(&Ask::credentials(&thing)).await.expect(410);
    let old = device["certificateId"].as_str().expect("an id");
    let sealed = sealed(&cloud, &thing, old).await;
    let rotation = renewed(&cloud, &thing, old).await;
    let (second, second_key, second_sealed) = handed_out(&cloud, &thing).await;
    let rows_before = Value::from(rows(&cloud).await).to_string();
    let deletion = deleted(&cloud, &thing).await;

    let pem = credentials["privateKeyPem"].as_str().expect("a key");
    let mut secrets: Vec<_> = [pem, second_key.as_str()]
        .into_iter()
        .flat_map(private_lines)
        .collect();
    assert_eq!(secrets.len(), 4);
    for field in ["dataKey", "sealed"] {
        secrets.push(sealed[field].as_str().expect("what is sealed"));
        secrets.push(second_sealed[field].as_str().expect("what is sealed"));
    }

    let rotated = history(&cloud, "RotateWorkflowArn", &rotation).await;
    let handed_out = history(&cloud, "RotateWorkflowArn", &second).await;
    let removed = history(&cloud, "DeleteWorkflowArn", &deletion).await;
    let rows_after = Value::from(rows(&cloud).await).to_string();
    for (place, text) in [
        ("the registry", &rows_before),
        ("the rotation's history", &rotated),
        ("the history of the rotation by a hand-out", &handed_out),
        ("the deletion's history", &removed),
    ] {
        assert!(text.contains(&thing), "{place} was read");
    }
    let logged = logs(&cloud, since).await;
    assert!(
        logged.contains(r#""level":"TRACE""#),
        "the functions do not log at TRACE: deploy with LogLevel=trace"
    );
    assert!(logged.contains(&thing), "the functions' logs were read");
    let queued = queues(&cloud).await;
    for (place, text) in [
        ("the registry", &rows_before),
        ("what is left of it in the registry", &rows_after),
        ("the rotation's history", &rotated),
        ("the history of the rotation by a hand-out", &handed_out),
        ("the deletion's history", &removed),
        ("a log", &logged),
        ("a queue", &queued),
    ] {
        for secret in &secrets {
            assert!(
                !text.contains(*secret) && !text.contains(&as_numbers(secret)),
                "a piece of the key, or of what it is sealed in, is in {place}"
            );
        }
    }
}

/// What a caller should not have sent is refused, and neither repeated to the
/// caller nor kept anywhere.
#[tokio::test]
async fn a_key_sent_by_mistake_shows_nowhere() {
    let cloud = Cloud::open();
    let since = now();
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
    let logged = logs(&cloud, since).await;
    let queued = queues(&cloud).await;
    for text in [&registry, &logged, &queued] {
        for secret in lines.iter().copied().chain([token.as_str()]) {
            assert!(!text.contains(secret), "{secret:.8}… shows");
        }
    }
}

/// A token is known to its bearer alone: by its digest to the registry, and to
/// nobody else, be it good, refused or malformed.
#[tokio::test]
async fn a_token_shows_nowhere() {
    let cloud = Cloud::open();
    let since = now();
    let (lost, stranger) = (Lost::new(&cloud).await, Lost::new(&cloud).await);
    let wrong = enrolment(&lost.thing, &stranger.token, &lost.key.csr);
    sent(&cloud, &wrong).await.expect(403);
    let malformed = format!("{}0", lost.token);
    let malformed = enrolment(&lost.thing, &malformed, &lost.key.csr);
    let refused = sent(&cloud, &malformed).await;
    assert!(!refused.text.contains(&lost.token), "{}", refused.text);
    refused.expect(400);
    let answer = sent(&cloud, &lost.ask()).await.expect(201);
    assert!(!answer.to_string().contains(&lost.token), "{answer}");
    let tokens = [lost.token.clone(), stranger.token];
    let light = lost.light(&answer);
    delivered(&cloud, &light.event(&cloud, Event::Proof).await, None).await;
    assert_eq!(ended(&cloud, &light.rotation).await, "DONE");

    let registry = Value::from(rows(&cloud).await).to_string();
    let history = history(&cloud, "RotateWorkflowArn", &light.rotation).await;
    let logged = logs(&cloud, since).await;
    let queued = queues(&cloud).await;
    for token in &tokens {
        let digest = sha256_hex(token.as_bytes());
        assert!(registry.contains(&digest), "the registry was read");
        for (place, text) in [
            ("the registry", &registry),
            ("the rotation's history", &history),
            ("a log", &logged),
            ("a queue", &queued),
        ] {
            let shown = text.contains(token) || text.contains(&as_numbers(token));
            assert!(!shown, "a token is in {place}");
        }
    }
}

/// A tunnel's tokens go to who asked and to the device, and to nobody else.
#[tokio::test]
async fn a_tunnels_token_shows_nowhere() {
    let cloud = Cloud::open();
    let since = now();
    let mut light = tunnels::Light::connected(&cloud).await;
    let open = deliver(&cloud, &light.open()).await.expect(201);
    let id = open["tunnelId"].as_str().expect("an id").to_owned();
    let rotation = Ask::new("POST", format!("/tunnels/{id}/rotation"));
    let rotated = deliver(&cloud, &rotation).await.expect(200);
    let shown = Ask::new("GET", format!("/tunnels/{id}"));
    let shown = cloud.api(&shown).await.expect(200).to_string();
    let tokens = [open, rotated].map(|answer| {
        let token = answer["sourceAccessToken"].as_str().expect("a token");
        token.to_owned()
    });
    let heard = Value::from(light.stop()).to_string();
    assert!(heard.contains(r#""event":"tunnel""#), "{heard}");
    // The device's own begin like the caller's, and are in none of it either.
    let begins = &tokens[0][..4];
    let registry = Value::from(rows(&cloud).await).to_string();
    let logged = logs(&cloud, since).await;
    let queued = queues(&cloud).await;
    assert!(
        registry.contains(&id) && logged.contains(&id),
        "they were read"
    );
    for (place, text) in [
        ("the registry", &registry),
        ("a log", &logged),
        ("a queue", &queued),
        ("the tunnel, shown", &shown),
        ("what the device says", &heard),
    ] {
        assert!(!text.contains(begins), "a token is in {place}");
        for token in &tokens {
            assert!(!text.contains(&as_numbers(token)), "a token is in {place}");
        }
    }
}
