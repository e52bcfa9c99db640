//! An AWS in memory: what is in it, and which calls reached it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use lamplighter_aws::table::Table;
use serde_json::{Map, Value, json};

const REGION: &str = "eu-south-1";

#[derive(Default)]
pub(crate) struct World {
    /// What was created in AWS IoT, by its path.
    pub(crate) iot: BTreeMap<String, Value>,
    /// The policies of each group's ARN.
    pub(crate) attached: BTreeMap<String, BTreeSet<String>>,
    /// The members of each group.
    pub(crate) members: BTreeMap<String, Vec<String>>,
    /// The kinds of events, and whether each is on.
    pub(crate) events: BTreeMap<String, bool>,
    /// The registry, by both keys, with `DynamoDB`'s types.
    pub(crate) table: BTreeMap<(String, String), Value>,
    /// The one object in the bucket.
    pub(crate) object: Vec<u8>,
    /// What the bus answers next.
    pub(crate) bus: VecDeque<(u16, Value)>,
    /// A hand-out that somebody else records just before ours.
    pub(crate) rival: Option<Value>,
    /// Rows that somebody else writes just before our next transaction.
    pub(crate) meanwhile: Vec<Value>,
    /// Why every transaction is cancelled, if it is.
    pub(crate) cancelled: Option<&'static str>,
    /// After so many writes nothing works any more.
    pub(crate) writes_left: Option<usize>,
    /// Every call: its name and what it sent.
    pub(crate) calls: Vec<(String, Value)>,
}

#[derive(Clone, Default)]
pub(crate) struct Cloud(Arc<Mutex<World>>);

impl Cloud {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn sdk(&self) -> aws_config::SdkConfig {
        let cloud = self.clone();
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static(REGION))
            .credentials_provider(aws_sdk_iot::config::SharedCredentialsProvider::new(
                aws_sdk_iot::config::Credentials::for_tests(),
            ))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(infallible_client_fn(move |request| cloud.answer(&request)))
            .build()
    }

    pub(crate) fn table(&self) -> Table {
        Table {
            client: aws_sdk_dynamodb::Client::new(&self.sdk()),
            name: "registry".to_owned(),
        }
    }

    /// Puts a row into the registry.
    pub(crate) fn insert(&self, row: &Value) {
        let item = typed_item(row);
        self.world().table.insert(key(&item), item);
    }

    /// How many calls since the start had this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.world()
            .calls
            .iter()
            .filter(|(called, _)| called == name)
            .count()
    }

    /// How many calls since the start changed anything.
    pub(crate) fn writes(&self) -> usize {
        self.world()
            .calls
            .iter()
            .filter(|(name, _)| is_write(name))
            .count()
    }

    fn answer(&self, request: &Request<SdkBody>) -> Response<SdkBody> {
        let bytes = request.body().bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let target = request
            .headers()
            .get("x-amz-target")
            .and_then(|value| value.to_str().ok());
        let name = match target.and_then(|target| target.rsplit_once('.')) {
            Some((_, operation)) => operation.to_owned(),
            None if request
                .uri()
                .host()
                .is_some_and(|host| host.starts_with("s3.")) =>
            {
                "GetObject".to_owned()
            }
            None => format!("{} {}", request.method(), decode(request.uri().path())),
        };
        let mut world = self.world();
        world.calls.push((name.clone(), body.clone()));
        if is_write(&name)
            && let Some(left) = world.writes_left.as_mut()
        {
            if *left == 0 {
                return error(500, "InternalFailureException");
            }
            *left -= 1;
        }
        world.perform(&name, &body)
    }
}

fn is_write(name: &str) -> bool {
    match name.split_once(' ') {
        Some((method, path)) => method != "GET" && !path.starts_with("/attached-policies/"),
        None => matches!(name, "PutItem" | "UpdateItem" | "TransactWriteItems"),
    }
}

impl World {
    fn perform(&mut self, name: &str, body: &Value) -> Response<SdkBody> {
        if let Some((method, path)) = name.split_once(' ') {
            return self.iot_call(method, path.trim_start_matches('/'), body);
        }
        match name {
            "GetItem" => {
                assert_eq!(body["ConsistentRead"], true);
                let found = self.table.get(&key(&body["Key"]));
                ok(&found.map_or_else(|| json!({}), |item| json!({ "Item": item })))
            }
            "PutItem" => self.put(body),
            "UpdateItem" => self.hand_out(body),
            "Query" => self.query(body),
            "TransactGetItems" => self.transact_get(body),
            "TransactWriteItems" => self.transact_write(body),
            "GetObject" => respond(200, self.object.clone()),
            "GenerateDataKey" | "Decrypt" => ok(&data_key()),
            "PutEvents" => {
                let (status, answer) = self.bus.pop_front().expect("an answer of the bus");
                respond(status, answer.to_string())
            }
            "StartExecution" => {
                ok(&json!({ "executionArn": "arn:aws:states:::execution:x", "startDate": 0 }))
            }
            other => panic!("no such operation: {other}"),
        }
    }

    fn put(&mut self, body: &Value) -> Response<SdkBody> {
        let key = key(&body["Item"]);
        let condition = body["ConditionExpression"].as_str();
        assert!(matches!(condition, None | Some("attribute_not_exists(PK)")));
        if condition.is_some() && self.table.contains_key(&key) {
            return error(400, "ConditionalCheckFailedException");
        }
        self.table.insert(key, body["Item"].clone());
        ok(&json!({}))
    }

    fn hand_out(&mut self, body: &Value) -> Response<SdkBody> {
        assert_eq!(
            body["ConditionExpression"],
            "attribute_exists(PK) AND attribute_not_exists(handOut) \
             AND attribute_not_exists(revokedAt)"
        );
        let rival = self.rival.take();
        let Some(row) = self.table.get_mut(&key(&body["Key"])) else {
            return error(400, "ConditionalCheckFailedException");
        };
        if let Some(rival) = rival {
            row["handOut"] = rival;
        }
        if row.get("handOut").is_some() || row.get("revokedAt").is_some() {
            return error(400, "ConditionalCheckFailedException");
        }
        row["handOut"] = body["ExpressionAttributeValues"][":handOut"].clone();
        ok(&json!({}))
    }

    fn iot_call(&mut self, method: &str, path: &str, body: &Value) -> Response<SdkBody> {
        let parts: Vec<_> = path.splitn(2, '/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["endpoint"]) => ok(&json!({ "endpointAddress": "data.example" })),
            ("GET", ["tags"]) => ok(&json!({ "tags": [] })),
            ("GET", ["event-configurations"]) => {
                let all: Map<_, _> = self
                    .events
                    .iter()
                    .map(|(kind, on)| (kind.clone(), json!({ "Enabled": on })))
                    .collect();
                ok(&json!({ "eventConfigurations": all }))
            }
            ("PATCH", ["event-configurations"]) => {
                for (kind, configuration) in body["eventConfigurations"].as_object().unwrap() {
                    self.events
                        .insert(kind.clone(), configuration["Enabled"] == true);
                }
                ok(&json!({}))
            }
            ("POST", ["attached-policies", arn]) => {
                let names = self.attached.get(*arn).into_iter().flatten();
                let policies: Vec<_> = names.map(|name| json!({ "policyName": name })).collect();
                ok(&json!({ "policies": policies }))
            }
            ("PUT", ["target-policies", policy]) => {
                let target = body["target"].as_str().unwrap().to_owned();
                self.attached
                    .entry(target)
                    .or_default()
                    .insert((*policy).to_owned());
                ok(&json!({}))
            }
            ("POST", ["target-policies", policy]) => {
                self.attached
                    .entry(body["target"].as_str().unwrap().to_owned())
                    .or_default()
                    .remove(*policy);
                ok(&json!({}))
            }
            ("GET", ["thing-groups", rest]) if rest.ends_with("/things") => {
                let members = self.members.get(rest.trim_end_matches("/things"));
                ok(&json!({ "things": members.cloned().unwrap_or_default() }))
            }
            ("GET", _) => self.iot.get(path).map_or_else(
                || error(404, "ResourceNotFoundException"),
                |made| ok(&described(path, made)),
            ),
            ("POST", _) if self.iot.contains_key(path) => {
                error(409, "ResourceAlreadyExistsException")
            }
            ("POST", _) => {
                self.iot.insert(path.to_owned(), body.clone());
                ok(&json!({}))
            }
            ("DELETE", _) => {
                self.iot.remove(path);
                ok(&json!({}))
            }
            other => panic!("no such operation: {other:?}"),
        }
    }
}

/// What AWS IoT says of something, from what it was created with.
fn described(path: &str, made: &Value) -> Value {
    let mut seen = made.clone();
    if let Some(group) = path.strip_prefix("thing-groups/") {
        seen["thingGroupArn"] = group_arn(group).into();
        seen["thingGroupMetadata"] = json!({ "parentGroupName": made["parentGroupName"] });
    }
    if let Some(group) = path.strip_prefix("billing-groups/") {
        seen["billingGroupArn"] =
            format!("arn:aws:iot:{REGION}:123456789012:billinggroup/{group}").into();
    }
    seen
}

pub(crate) fn group_arn(name: &str) -> String {
    format!("arn:aws:iot:{REGION}:123456789012:thinggroup/{name}")
}

fn data_key() -> Value {
    json!({
        "KeyId": "key", "Plaintext": STANDARD.encode([0; 32]), "CiphertextBlob": STANDARD.encode("sealed"),
    })
}

pub(crate) fn key(item: &Value) -> (String, String) {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("PK"), part("SK"))
}

/// A value with `DynamoDB`'s types.
pub(crate) fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(value) => json!({ "N": value.to_string() }),
        Value::String(value) => json!({ "S": value }),
        Value::Array(values) => json!({ "L": values.iter().map(typed).collect::<Vec<_>>() }),
        Value::Object(_) => json!({ "M": typed_item(value) }),
    }
}

pub(crate) fn typed_item(value: &Value) -> Value {
    let fields = value.as_object().unwrap();
    fields
        .iter()
        .map(|(name, value)| (name.clone(), typed(value)))
        .collect::<Map<_, _>>()
        .into()
}

pub(crate) fn ok(body: &Value) -> Response<SdkBody> {
    respond(200, body.to_string())
}

fn error(status: u16, code: &str) -> Response<SdkBody> {
    respond(
        status,
        json!({ "__type": code, "message": "as told" }).to_string(),
    )
}

pub(crate) fn respond(status: u16, body: impl Into<SdkBody>) -> Response<SdkBody> {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        text.push_str(&part[2..]);
    }
    text
}
