//! Dynamic groups as callers see them, and what the bus says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};
use crate::delivery::PATIENCE;
use crate::device::unique;

/// Everything that the bus says of groups, from now on, in a queue.
#[derive(Debug)]
pub struct Bus {
    queue: String,
}

/// An enter or a leave as it was announced.
#[derive(Clone, Debug)]
pub struct Told {
    /// By which it is known that it was announced before.
    pub id: String,
    /// The device.
    pub thing: String,
    /// The group.
    pub group: String,
    /// Whether it was entered.
    pub entered: bool,
    /// The document's version.
    pub version: u64,
    /// The whole event.
    pub event: Value,
}

impl Bus {
    /// Listens from now on.
    pub async fn listen(cloud: &Cloud) -> Self {
        let name = unique("heard");
        let made = sqs(cloud, "CreateQueue", &json!({"QueueName": name})).await;
        let queue = made["QueueUrl"].as_str().expect("a queue").to_owned();
        let asked = json!({"QueueUrl": queue, "AttributeNames": ["QueueArn"]});
        let arn = sqs(cloud, "GetQueueAttributes", &asked).await["Attributes"]["QueueArn"].clone();
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage", "Resource": arn,
        }]});
        let policy = json!({"QueueUrl": queue, "Attributes": {"Policy": policy.to_string()}});
        sqs(cloud, "SetQueueAttributes", &policy).await;
        let (bus, pattern) = (
            cloud.stack("BusName"),
            json!({"detail-type": ["GroupEntered", "GroupLeft"]}),
        );
        let rule = json!({"Name": name, "EventBusName": bus, "EventPattern": pattern.to_string()});
        cloud.aws_json("events", "AWSEvents.PutRule", &rule).await;
        let targets =
            json!({"Rule": name, "EventBusName": bus, "Targets": [{"Id": "1", "Arn": arn}]});
        cloud
            .aws_json("events", "AWSEvents.PutTargets", &targets)
            .await;
        Self { queue }
    }

    /// What has been announced since the last time, in the order of arrival.
    pub async fn heard(&self, cloud: &Cloud) -> Vec<Told> {
        let mut heard = Vec::new();
        loop {
            let asked = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10});
            let page = sqs(cloud, "ReceiveMessage", &asked).await;
            let messages = page["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return heard;
            }
            let mut done = Vec::new();
            for (at, message) in messages.iter().enumerate() {
                heard.push(Told::read(message["Body"].as_str().expect("a body")));
                done.push(json!({"Id": at.to_string(), "ReceiptHandle": message["ReceiptHandle"]}));
            }
            let done = json!({"QueueUrl": self.queue, "Entries": done});
            sqs(cloud, "DeleteMessageBatch", &done).await;
        }
    }
}

impl Told {
    fn read(body: &str) -> Self {
        let event: Value = serde_json::from_str(body).expect("an event");
        let detail = &event["detail"];
        let text = |name: &str| detail[name].as_str().expect(name).to_owned();
        Self {
            id: text("id"),
            thing: text("thingName"),
            group: text("group"),
            entered: event["detail-type"] == "GroupEntered",
            version: detail["documentVersion"].as_u64().expect("a version"),
            event: event.clone(),
        }
    }
}

/// The groups of each device that the announcements of some groups lead to, each
/// taken once and those of a device by the version of its document.
///
/// # Errors
/// One of them enters a group that the device is in, or leaves another.
pub fn replayed(
    told: &[Told],
    groups: &BTreeSet<String>,
) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let mut by_id = BTreeMap::new();
    for each in told.iter().filter(|told| groups.contains(&told.group)) {
        by_id.entry(each.id.clone()).or_insert(each);
    }
    let mut steps: Vec<_> = by_id.into_values().collect();
    steps.sort_by_key(|told| (told.thing.clone(), told.version, told.entered));
    let mut members = BTreeMap::<String, BTreeSet<String>>::new();
    for step in steps {
        let groups = members.entry(step.thing.clone()).or_default();
        let changed = if step.entered {
            groups.insert(step.group.clone())
        } else {
            groups.remove(&step.group)
        };
        if !changed {
            return Err(format!("{step:?} changes nothing"));
        }
    }
    Ok(members)
}

/// Waits until a look finds what it looks for; the last look otherwise.
pub async fn until<T, F: Future<Output = Result<T, String>>>(look: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) => assert!(started.elapsed() < PATIENCE, "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// All names of a list, page by page.
pub async fn all(cloud: &Cloud, path: &str, name: &str, limit: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let ask = Ask::new("GET", format!("{path}?limit={limit}{cursor}"));
        let page = cloud.api(&ask).await.expect(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= limit, "{page}");
        found.extend(
            items
                .iter()
                .map(|item| item[name].as_str().expect(name).to_owned()),
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// The dynamic groups of a device whose names begin so.
pub async fn groups_of(cloud: &Cloud, thing: &str, prefix: &str) -> BTreeSet<String> {
    let found = all(cloud, &format!("/devices/{thing}/groups"), "group", 100).await;
    found
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Waits until a device is in just these groups of an organisation.
pub async fn until_in(cloud: &Cloud, thing: &str, prefix: &str, expected: &[String]) {
    let expected: BTreeSet<_> = expected.iter().cloned().collect();
    until(async || {
        let found = groups_of(cloud, thing, prefix).await;
        if found == expected {
            return Ok(());
        }
        Err(format!("{thing} is in {found:?}, not in {expected:?}"))
    })
    .await;
}

/// Hands a batch of messages to the function of this output, as Lambda does with
/// those of its queue; answers how many are to come again.
pub async fn deliver(cloud: &Cloud, function: &str, bodies: &[Value]) -> usize {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(at, body)| {
            json!({
                "messageId": at.to_string(), "body": body.to_string(), "eventSource": "aws:sqs",
            })
        })
        .collect();
    let function = cloud.stack(function);
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let ask = Ask::new("POST", path).text(json!({"Records": records}).to_string());
    let answer = cloud.aws("lambda", &ask).await.expect(200);
    let failed = answer["batchItemFailures"].as_array();
    failed
        .unwrap_or_else(|| panic!("no batch was taken: {answer}"))
        .len()
}

/// Waits until nothing is in the queue of what happened to devices.
pub async fn until_drained(cloud: &Cloud) {
    let names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ];
    let queue = cloud.stack("DeviceChangesQueue");
    let asked = json!({"QueueUrl": queue, "AttributeNames": names});
    until(async || {
        let found = sqs(cloud, "GetQueueAttributes", &asked).await["Attributes"].clone();
        if names.iter().all(|name| found[*name] == "0") {
            return Ok(());
        }
        Err(format!("the queue holds {found}"))
    })
    .await;
}

/// Calls an operation of SQS.
pub async fn sqs(cloud: &Cloud, operation: &str, body: &Value) -> Value {
    cloud
        .aws_json("sqs", &format!("AmazonSQS.{operation}"), body)
        .await
}
