//! Jobs given to lights that answer as a test has them answer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplighter_domain::csr::sha256_hex;
use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};
use crate::delivery::{PATIENCE, created, deliver};
use crate::device::{Key, unique};
use crate::groups;
use crate::inventory::{describe, rows};
use crate::organisation::Organisation;

/// Lights in a group, and two templates for them.
#[derive(Debug)]
pub struct Lights {
    /// Their group, type and templates.
    pub org: Organisation,
    /// Their names, in order.
    pub things: Vec<String>,
}

impl Lights {
    /// So many lights.
    pub async fn new(cloud: &Cloud, count: usize) -> Self {
        let mut org = Organisation::new();
        let step = |args: Value| {
            json!({"version": "1.0", "steps": [{"action": {
                "name": "Only", "type": "runHandler", "input": {"handler": "only.sh", "args": args},
            }}]})
        };
        let image = "${aws:iot:parameter:image}";
        org.catalog["jobTemplates"] = json!([
            {
                "name": org.of("firmware"), "thingType": org.of("type"),
                "parameters": {"version": {"type": "string"}, "image": {"type": "s3"}},
                "confirmsFirmware": "${aws:iot:parameter:version}",
                "document": step(json!([
                    image, "${aws:iot:parameter:image.sha256}", "${aws:iot:parameter:version}",
                ])),
            },
            {"name": org.of("blink"), "document": step(json!(["--twice"]))},
        ]);
        org.catalog["dynamicGroups"] = json!([
            {"name": org.of("outdated"), "semver": true, "query": format!(
                "thingTypeName:{} AND NOT shadow.reported.firmware_version>=semver\"2.0.0\"", org.of("type"),
            )},
        ]);
        org.apply(cloud, "").await.expect_done();
        let mut lights = Self {
            org,
            things: Vec::new(),
        };
        for _ in 0..count {
            let thing = lights.another(cloud, "navigli").await;
            lights.things.push(thing);
        }
        lights.things.sort();
        lights
    }

    /// One more light, in a group.
    pub async fn another(&self, cloud: &Cloud, group: &str) -> String {
        let thing = unique("job");
        let mut body = self.org.light(&thing);
        body["groups"] = json!([self.org.of(group)]);
        body["csr"] = Key::make(&thing).csr.into();
        created(cloud, &body).await;
        thing
    }

    /// Who is to get a job: the group above the lights' own.
    pub fn all(&self) -> Value {
        json!({"group": self.org.of("milan")})
    }

    /// A request to have them blink.
    pub fn blink(&self, targets: Value, rollout: Value) -> Value {
        json!({"template": self.org.of("blink"), "targets": targets, "rollout": rollout})
    }
}

/// Waits until a job would go to so many, as a dry run says.
pub async fn forecast(cloud: &Cloud, body: &Value, targets: u64) -> Value {
    let mut body = body.clone();
    body["dryRun"] = true.into();
    groups::until(async || {
        let ask = Ask::new("POST", "/jobs").text(body.to_string());
        let reply = cloud.api(&ask).await;
        let said = reply.json();
        if reply.status == 200 && said["targets"] == targets {
            return Ok(said);
        }
        Err(reply.text)
    })
    .await
}

/// Starts a job; the answer is its id.
pub async fn started(cloud: &Cloud, body: &Value) -> String {
    let ask = Ask::new("POST", "/jobs")
        .text(body.to_string())
        .header("idempotency-key", unique("key"));
    let job = deliver(cloud, &ask).await.expect(202);
    job["jobId"].as_str().expect("an id").to_owned()
}

/// A job as the API shows it.
pub async fn seen(cloud: &Cloud, job: &str) -> Value {
    let ask = Ask::new("GET", format!("/jobs/{job}"));
    deliver(cloud, &ask).await.expect(200)
}

/// What a job's trail tells, in its words, with the waves.
pub fn happened(seen: &Value) -> Vec<String> {
    let events = seen["events"].as_array().expect("a trail");
    let words = events.iter().map(|event| {
        let what = event["what"].as_str().expect("a word");
        match event["wave"].as_u64() {
            Some(wave) => format!("{what} {wave}"),
            None => what.to_owned(),
        }
    });
    words.collect()
}

/// Tells a job something.
pub async fn told(cloud: &Cloud, job: &str, command: &str, body: Value) -> Value {
    let ask = Ask::new("POST", format!("/jobs/{job}/{command}")).text(body.to_string());
    deliver(cloud, &ask).await.expect(200)
}

/// Waits until a job stands as it is to, while time passes quickly for it.
pub async fn until(cloud: &Cloud, job: &str, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let seen = seen(cloud, job).await;
        if enough(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not {what}: {seen}");
        hurry(cloud, job).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// Waits for a job's end; so many have it then, and so many had left its targets.
pub async fn done(cloud: &Cloud, job: &str, succeeded: u64, left: u64) -> Value {
    let done = until(cloud, job, "done", |seen| seen["status"] == "DONE").await;
    let counts = &done["counts"];
    assert_eq!(counts["succeeded"], succeeded, "{done}");
    assert_eq!(counts["left"], left, "{done}");
    done
}

/// Lets the minute between two jobs have passed.
async fn hurry(cloud: &Cloud, job: &str) {
    let rested = "notBefore > :past AND leaseUntil < :past";
    if set_past(cloud, job, "notBefore", rested).await {
        poke(cloud, job).await;
    }
}

/// Lets the time of the wave under way be over.
pub async fn time_over(cloud: &Cloud, job: &str) {
    let begun = Instant::now();
    while !set_past(cloud, job, "wave.deadline", "leaseUntil < :past").await {
        assert!(begun.elapsed() < PATIENCE, "{job} is at work all the time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    poke(cloud, job).await;
}

/// Sets a moment of a job's row to the past, as time would; false if the
/// condition does not hold.
pub async fn set_past(cloud: &Cloud, job: &str, what: &str, condition: &str) -> bool {
    let update = json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("ROLLOUT#{job}")}, "SK": {"S": "ROLLOUT"}},
        // As who changes it: what was read before is not written over it.
        "UpdateExpression": format!("SET {what} = :past ADD #v :past"),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {"#v": "version"},
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    let ask = Ask::new("POST", "/")
        .text(update.to_string())
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "DynamoDB_20120810.UpdateItem");
    cloud.aws("dynamodb", &ask).await.status == 200
}

/// Wakes the workflow: the first wave is approved already, so it is told
/// nothing new.
pub async fn poke(cloud: &Cloud, job: &str) {
    let ask = Ask::new("POST", format!("/jobs/{job}/approve")).text(r#"{"wave": 1}"#);
    cloud.api(&ask).await;
}

/// The wave under way has its job in AWS, and these lights are told of it.
pub async fn wave(cloud: &Cloud, job: &str, number: u32, size: usize) -> Vec<String> {
    let name = format!("{job}-w{number}");
    until(cloud, job, &format!("wave {number}"), |seen| {
        seen["wave"]["number"] == number && !seen["wave"]["startedAt"].is_null()
    })
    .await;
    let mut told = executions(cloud, &name).await;
    told.sort();
    assert_eq!(told.len(), size, "{name}: {told:?}");
    told
}

/// The things that have an execution of a job in AWS.
pub async fn executions(cloud: &Cloud, job: &str) -> Vec<String> {
    let path = format!("/jobs/{job}/things?maxResults=250");
    let listed = describe(cloud, &path).await.expect(200);
    let summaries = listed["executionSummaries"].as_array().expect("a list");
    let name = |one: &Value| {
        let arn = one["thingArn"].as_str().expect("an ARN");
        arn.rsplit('/').next().expect("a name").to_owned()
    };
    summaries.iter().map(name).collect()
}

/// A light says how its execution stands.
pub async fn answered(cloud: &Cloud, thing: &str, job: &str, status: &str, reason: &str) {
    let mut body = json!({"status": status});
    if !reason.is_empty() {
        body["statusDetails"] = json!({"reason": reason});
    }
    let ask = Ask::new("POST", format!("/things/{thing}/jobs/{job}")).text(body.to_string());
    cloud.aws("iot-jobs-data", &ask).await.expect(200);
}

/// A light's shadow reports its firmware.
pub async fn runs(cloud: &Cloud, thing: &str, version: &str) {
    let body = json!({"state": {"reported": {"firmware_version": version}}});
    let ask = Ask::new("POST", format!("/things/{thing}/shadow")).text(body.to_string());
    cloud.aws("iotdata", &ask).await.expect(200);
}

/// Uploads what lights are to download; the answer is its URI and checksum.
pub async fn uploaded(cloud: &Cloud, content: &str) -> (String, String) {
    let bucket = cloud.stack("JobBucket");
    let digest = sha256_hex(content.as_bytes());
    let bytes: Vec<u8> = (0..digest.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digest[i..i + 2], 16).expect("hex"))
        .collect();
    let key = unique("firmware");
    let ask = Ask::new("PUT", format!("/{bucket}/{key}"))
        .text(content)
        .header("content-type", "application/octet-stream")
        .header("x-amz-checksum-sha256", STANDARD.encode(bytes));
    cloud.aws("s3", &ask).await.expect(200);
    (format!("s3://{bucket}/{key}"), digest)
}

/// Every execution that a light has ever had of a job, by wave.
pub async fn turns(cloud: &Cloud, thing: &str, job: &str) -> Vec<String> {
    let path = format!("/things/{thing}/jobs?maxResults=250");
    let listed = describe(cloud, &path).await.expect(200);
    let all = listed["executionSummaries"].as_array().expect("a list");
    let ids = all.iter().filter_map(|one| one["jobId"].as_str());
    let ours = ids.filter_map(|id| id.strip_prefix(job));
    ours.map(|wave| wave.trim_start_matches('-').to_owned())
        .collect()
}

/// Lets a light have joined a while ago, as time would.
pub async fn age_joiner(cloud: &Cloud, job: &str, thing: &str) -> bool {
    let table = cloud.stack("TableName");
    let rows = rows(cloud).await;
    let late = rows.iter().find(|row| {
        row["PK"]["S"] == format!("ROLLOUT#{job}")
            && row["SK"]["S"]
                .as_str()
                .is_some_and(|sk| sk.starts_with("TARGET#L#"))
            && row["thingName"]["S"] == *thing
    });
    let Some(late) = late else {
        return false;
    };
    let mut older = late.clone();
    older["SK"]["S"] = format!("TARGET#L#00000000000001#{thing}").into();
    let write = json!({"TransactItems": [
        {"Put": {"TableName": table, "Item": older}},
        {"Delete": {"TableName": table, "Key": {"PK": late["PK"], "SK": late["SK"]}}},
    ]});
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.TransactWriteItems", &write)
        .await;
    true
}
