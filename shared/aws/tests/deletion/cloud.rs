//! An AWS in memory: what is in it, and which calls reached it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use http::{Request, Response};
use lamplighter_aws::delete::Deletion;
use lamplighter_aws::links::{Bucket, Links};
#[cfg(feature = "kms")]
use lamplighter_aws::renewal::Safe;
use lamplighter_aws::table::Table;
#[cfg(feature = "kms")]
use lamplighter_aws::vault::Vault;
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::names::OperationId;
use serde_json::{Value, json};

use crate::call::Call;

pub(crate) const THING: &str = "milan-0001";
pub(crate) const REGION: &str = "eu-south-1";
/// 2050-01-01, in seconds.
pub(crate) const CERTIFICATES_END: u64 = 2_524_608_000;

pub(crate) fn operation_id() -> String {
    OperationId::from_key("deletion").as_str().to_owned()
}

pub(crate) fn creation_id() -> String {
    OperationId::from_key("creation").as_str().to_owned()
}

pub(crate) fn certificate_id(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub(crate) fn arn(id: &str) -> String {
    format!("arn:aws:iot:{REGION}:123456789012:cert/{id}")
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It takes effect, and its answer is lost.
    Lost,
    /// It takes no effect, and the service fails.
    Refused,
}

/// Everything there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) things: BTreeSet<String>,
    /// The principals of each thing.
    pub(crate) principals: BTreeMap<String, BTreeSet<String>>,
    /// The state of each certificate.
    pub(crate) certificates: BTreeMap<String, String>,
    /// The PEM of each certificate that has one.
    pub(crate) pems: BTreeMap<String, String>,
    /// The groups of each thing.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// Thing and shadow name; the classic one's is empty.
    pub(crate) shadows: BTreeSet<(String, String)>,
    pub(crate) retained: BTreeSet<String>,
    /// Thing and job, and how the execution stands.
    pub(crate) executions: BTreeMap<(String, String), String>,
    /// Tunnel, and its thing.
    pub(crate) tunnels: BTreeMap<String, String>,
    pub(crate) connected: BTreeSet<String>,
    /// Bucket, key and version.
    pub(crate) versions: BTreeSet<(String, String, String)>,
    /// The registry, an item a key, as plain JSON.
    pub(crate) table: BTreeMap<(String, String), Value>,
    /// The workflow's executions, with their input.
    pub(crate) executions_started: BTreeMap<String, Value>,
    /// How many deletions are refused after a detachment.
    pub(crate) settling: u32,
    /// What no call removes.
    pub(crate) immortal: Option<String>,
    /// Which call meets which fate.
    pub(crate) fate: Option<(usize, Fate)>,
    /// The names of the calls, in order.
    pub(crate) calls: Vec<String>,
}

/// What is in AWS besides the registry.
pub(crate) type Left = (
    BTreeSet<String>,
    BTreeMap<String, String>,
    BTreeSet<(String, String)>,
    BTreeSet<String>,
    BTreeSet<(String, String, String)>,
    BTreeMap<String, String>,
);

/// Whether a call changes AWS IoT or S3; the registry's rows do not count.
pub(crate) fn is_effect(call: &str) -> bool {
    let verbs = [
        "Update", "Delete", "Detach", "Remove", "Cancel", "Close", "Publish",
    ];
    call != "UpdateItem" && verbs.iter().any(|verb| call.starts_with(verb))
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(ToString::to_string).collect()
}

impl World {
    /// A device with two of everything, and a neighbour with some.
    pub(crate) fn full() -> Self {
        let mut world = Self::default();
        let (a, b, c) = (
            certificate_id('a'),
            certificate_id('b'),
            certificate_id('c'),
        );
        for (thing, certificates) in [(THING, vec![&a, &b]), ("turin-7", vec![&c])] {
            world.things.insert(thing.to_owned());
            world.connected.insert(thing.to_owned());
            world
                .groups
                .insert(thing.to_owned(), set(&["city", "lights"]));
            for shadow in ["", "s1", "s2"] {
                world.shadows.insert((thing.to_owned(), shadow.to_owned()));
            }
            for topic in ["state", "alarm"] {
                world.retained.insert(format!("lights/{thing}/{topic}"));
            }
            for job in ["job-1", "job-2"] {
                world
                    .executions
                    .insert((thing.to_owned(), job.to_owned()), "QUEUED".to_owned());
            }
            for id in certificates {
                world.certificates.insert(id.clone(), "ACTIVE".to_owned());
                world.attach(thing, id);
            }
            for (bucket, version) in [
                ("custody", "v1"),
                ("custody", "v2"),
                ("replica", "r1"),
                ("replica", "r2"),
            ] {
                let key = format!("keys/{thing}/{}.json", creation_id());
                world
                    .versions
                    .insert((bucket.to_owned(), key, version.to_owned()));
            }
        }
        for (tunnel, thing) in [("t1", THING), ("t2", THING), ("t3", "turin-7")] {
            world.tunnels.insert(tunnel.to_owned(), thing.to_owned());
        }
        world.register(&a);
        world
    }

    fn register(&mut self, certificate: &str) {
        let device = format!("DEVICE#{THING}");
        let rows = [
            (
                device.as_str(),
                "RECORD",
                json!({
                    "thingName": THING, "thingType": "streetlight", "groups": ["city"], "attributes": {},
                    "profile": "milan", "status": "DELETING", "custody": "vault", "createdBy": creation_id(),
                    "operationId": operation_id(), "createdAt": 1, "listingShard": "DEVICES#00",
                    "certificateId": certificate,
                }),
            ),
            (
                &device,
                &format!("CERT#{certificate}"),
                json!({
                    "certificateId": certificate, "certificatePem": "PEM", "publicKey": "f".repeat(64),
                    "custody": "vault", "issuer": "aws-iot", "issuedAt": 1,
                    "notAfter": CERTIFICATES_END * 1000,
                }),
            ),
            (
                &format!("KEY#{}", "f".repeat(64)),
                "OWNER",
                json!({ "thingName": THING, "operationId": creation_id() }),
            ),
            (
                &device,
                "PREREGISTRATION",
                json!({ "thingName": THING, "profile": "milan" }),
            ),
            (
                "PROFILE#milan",
                "PROFILE",
                json!({
                    "name": "milan", "retainedTopics": ["lights/{thingName}/state"],
                }),
            ),
            (
                "TYPE#streetlight",
                "TOPICS",
                json!({ "topics": ["lights/{thingName}/alarm", "fleet/all"] }),
            ),
            (
                &format!("OP#{}", operation_id()),
                "OPERATION",
                json!({
                    "operationId": operation_id(), "kind": "DELETE", "thingName": THING, "status": "RUNNING",
                    "startedAt": 1, "leaseUntil": 0, "attempt": 0, "deletion": {"certificates": {}},
                }),
            ),
            (
                &format!("OP#{}", creation_id()),
                "OPERATION",
                json!({
                    "operationId": creation_id(), "kind": "CREATE", "thingName": THING, "status": "DONE",
                    "startedAt": 1, "leaseUntil": 0, "attempt": 1,
                }),
            ),
        ];
        for (pk, sk, row) in rows {
            self.put(pk, sk, row);
        }
    }

    pub(crate) fn put(&mut self, pk: &str, sk: &str, mut row: Value) {
        row["PK"] = pk.into();
        row["SK"] = sk.into();
        self.table.insert((pk.to_owned(), sk.to_owned()), row);
    }

    pub(crate) fn attach(&mut self, thing: &str, certificate: &str) {
        self.things.insert(thing.to_owned());
        self.principals
            .entry(thing.to_owned())
            .or_default()
            .insert(arn(certificate));
    }

    /// The creation ended neither well nor badly: it was killed while minting.
    pub(crate) fn creation_unfinished(&mut self) {
        self.edit_creation("status", &json!("RUNNING"));
    }

    /// The killed creation had asked for this certificate.
    pub(crate) fn mint(&mut self, certificate: &str) {
        let made = rcgen::generate_simple_self_signed([THING.to_owned()]).unwrap();
        let pem = made.cert.pem();
        let key = PublicKeyId::of_certificate(&pem).unwrap();
        self.pems.insert(certificate.to_owned(), pem);
        self.edit_creation("mint", &json!({ "intendedAt": 1, "publicKey": key }));
    }

    /// The killed creation had signed this certificate, and may have registered it.
    pub(crate) fn signed(&mut self, certificate: &str) {
        self.mint(certificate);
        let key = PublicKeyId::of_certificate(&self.pems[certificate]).unwrap();
        let mint = json!({
            "intendedAt": 1, "publicKey": key, "certificateId": certificate,
            "certificatePem": self.pems.remove(certificate),
        });
        self.edit_creation("mint", &mint);
    }

    /// What AWS IoT and S3 hold, sorted.
    pub(crate) fn left(&self) -> Left {
        (
            self.things.clone(),
            self.certificates.clone(),
            self.shadows.clone(),
            self.retained
                .iter()
                .chain(&self.connected)
                .cloned()
                .collect(),
            self.versions.clone(),
            self.tunnels.clone(),
        )
    }

    /// What is the neighbour's: what must be left.
    pub(crate) fn others(&self) -> Left {
        let mut world = self.clone();
        world.things.remove(THING);
        world
            .certificates
            .retain(|id, _| *id == certificate_id('c'));
        world.shadows.retain(|(thing, _)| thing != THING);
        world.retained.retain(|topic| !topic.contains(THING));
        world.connected.remove(THING);
        world.versions.retain(|(_, key, _)| !key.contains(THING));
        world.tunnels.retain(|_, thing| thing != THING);
        world.left()
    }

    pub(crate) fn row(&self, pk: &str, sk: &str) -> Option<Value> {
        self.table.get(&(pk.to_owned(), sk.to_owned())).cloned()
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|(pk, sk)| format!("{pk}/{sk}"))
            .collect()
    }

    pub(crate) fn operation(&self) -> Value {
        self.row(&format!("OP#{}", operation_id()), "OPERATION")
            .unwrap()
    }

    pub(crate) fn edit_operation(&mut self, field: &str, value: &Value) {
        self.edit(&format!("OP#{}", operation_id()), "OPERATION", field, value);
    }

    pub(crate) fn edit_creation(&mut self, field: &str, value: &Value) {
        self.edit(&format!("OP#{}", creation_id()), "OPERATION", field, value);
    }

    pub(crate) fn edit_record(&mut self, field: &str, value: &Value) {
        self.edit(&format!("DEVICE#{THING}"), "RECORD", field, value);
    }

    fn edit(&mut self, pk: &str, sk: &str, field: &str, value: &Value) {
        self.table.get_mut(&(pk.to_owned(), sk.to_owned())).unwrap()[field] = value.clone();
    }

    pub(crate) fn forget(&mut self, thing: &str) {
        self.table
            .retain(|(pk, _), _| *pk != format!("DEVICE#{thing}"));
    }

    pub(crate) fn is_immortal(&self, what: &str) -> bool {
        self.immortal.as_deref() == Some(what)
    }
}

/// The world behind the clients.
#[derive(Clone)]
pub(crate) struct Cloud(Arc<Mutex<World>>);

impl Cloud {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The deletion over real clients, without retries: each call is one.
    pub(crate) fn deletion(&self) -> Deletion {
        let (sdk, s3) = self.clients();
        Deletion {
            table: Table {
                client: aws_sdk_dynamodb::Client::new(&sdk),
                name: "registry".to_owned(),
            },
            links: Links {
                iot: aws_sdk_iot::Client::new(&sdk),
                data: aws_sdk_iotdataplane::Client::new(&sdk),
                tunnels: aws_sdk_iotsecuretunneling::Client::new(&sdk),
                custody: Bucket::new("custody".to_owned(), s3.clone()),
                replica: Some(Bucket::new("replica".to_owned(), s3)),
            },
            sfn: aws_sdk_sfn::Client::new(&sdk),
            workflow_arn: format!(
                "arn:aws:states:{REGION}:123456789012:stateMachine:delete-device"
            ),
        }
    }

    /// Custody as a renewal uses it, with or without a replica.
    #[cfg(feature = "kms")]
    pub(crate) fn safe(&self, replicated: bool) -> Safe {
        let (sdk, s3) = self.clients();
        let vault = Vault {
            s3,
            kms: aws_sdk_kms::Client::new(&sdk),
            bucket: "custody".to_owned(),
            key_arn: "key".to_owned(),
        };
        Safe::new(vault, replicated.then(|| "replica".to_owned()))
    }

    fn clients(&self) -> (SdkConfig, aws_sdk_s3::Client) {
        let cloud = self.clone();
        let client = infallible_client_fn(move |request| cloud.answer(&request));
        let sdk = SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static(REGION))
            .credentials_provider(aws_sdk_iot::config::SharedCredentialsProvider::new(
                aws_sdk_iot::config::Credentials::for_tests(),
            ))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(client)
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(true)
            .build();
        (sdk, aws_sdk_s3::Client::from_conf(s3))
    }

    fn answer(&self, request: &Request<SdkBody>) -> Response<SdkBody> {
        let mut world = self.world();
        let call = Call::of(request);
        let number = world.calls.len();
        world.calls.push(call.name.clone());
        let fate = world
            .fate
            .filter(|(n, _)| *n == number)
            .map(|(_, fate)| fate);
        match fate {
            Some(Fate::Refused) => error(500, "InternalFailureException"),
            Some(Fate::Lost) => {
                world.perform(&call);
                error(500, "InternalFailureException")
            }
            None => world.perform(&call),
        }
    }
}

impl World {
    fn perform(&mut self, call: &Call) -> Response<SdkBody> {
        match call.name.as_str() {
            "GetItem" | "Query" | "UpdateItem" | "DeleteItem" | "TransactWriteItems" => {
                self.table_call(call)
            }
            "ListObjectVersions" => self.list_versions(call),
            "DeleteObjects" => self.delete_versions(call),
            "StartExecution" => self.start_execution(call),
            _ => self.iot_call(call),
        }
    }
}

pub(crate) fn ok(body: &Value) -> Response<SdkBody> {
    respond(200, body.to_string())
}

pub(crate) fn error(status: u16, code: &str) -> Response<SdkBody> {
    let mut response = respond(
        status,
        json!({ "__type": code, "message": code }).to_string(),
    );
    response
        .headers_mut()
        .insert("x-amzn-errortype", code.parse().unwrap());
    response
}

pub(crate) fn respond(status: u16, body: impl Into<SdkBody>) -> Response<SdkBody> {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}
