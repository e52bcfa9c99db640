//! A sweep through the real clients, over a registry in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use http::{Request, Response};
use lamplighter_aws::sweeps::{Asked, Input, Next, Step, Sweeps};
use lamplighter_aws::table::Table;
use lamplighter_aws::{clock, due};
use lamplighter_domain::due::query::DueQuery;
use lamplighter_domain::due::shard;
use lamplighter_domain::names::{CertificateId, OperationId, SweepId, ThingName};
use lamplighter_domain::sweep::budget::Budget;
use lamplighter_domain::sweep::{Command, FailureRule};
use lamplighter_domain::time::Day;
use serde_json::{Value, json};

use crate::cloud::typed_item;

type Rows = BTreeMap<(String, String), Value>;

#[derive(Clone, Default)]
struct World(Arc<Mutex<(Rows, Vec<Value>)>>);

impl World {
    fn locked(&self) -> MutexGuard<'_, (Rows, Vec<Value>)> {
        self.0.lock().unwrap()
    }

    /// Adds a row, with `DynamoDB`'s types.
    fn add(&self, pk: &str, sk: &str, row: &Value) {
        let mut item = typed_item(row);
        (item["PK"], item["SK"]) = (json!({ "S": pk }), json!({ "S": sk }));
        self.locked().0.insert((pk.to_owned(), sk.to_owned()), item);
    }

    fn executions(&self) -> Vec<String> {
        let world = self.locked();
        let names = world.1.iter().map(|sent| sent["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    fn answer(&self, request: &Request<SdkBody>) -> Response<SdkBody> {
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let mut world = self.locked();
        let (status, answer) = match target.rsplit_once('.').unwrap().1 {
            "GetItem" => {
                let found = world.0.get(&key(&body["Key"]));
                (200, found.map_or(json!({}), |item| json!({ "Item": item })))
            }
            "Query" => (200, query(&world.0, &body)),
            "TransactWriteItems" => transact(&mut world.0, &body),
            "StartExecution" => {
                world.1.push(body);
                (200, json!({ "executionArn": "arn", "startDate": 1 }))
            }
            other => panic!("no such operation: {other}"),
        };
        Response::builder()
            .status(status)
            .body(answer.to_string().into())
            .unwrap()
    }
}

fn key(item: &Value) -> (String, String) {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("PK"), part("SK"))
}

fn number(item: &Value) -> u64 {
    item["N"].as_str().map_or(0, |text| text.parse().unwrap())
}

fn query(rows: &Rows, body: &Value) -> Value {
    let values = &body["ExpressionAttributeValues"];
    if body["IndexName"].is_null() {
        assert_eq!(body["ConsistentRead"], true);
        let of = |item: &&Value| item["PK"] == values[":pk"];
        return json!({ "Items": rows.values().filter(of).collect::<Vec<_>>() });
    }
    let until = number(values.get(":until").unwrap_or(&values[":now"]));
    let after = &body["ExclusiveStartKey"];
    let mut found: Vec<_> = rows
        .values()
        .filter(|item| item["dueShard"] == values[":shard"] && number(&item["dueAt"]) <= until)
        .filter(|item| after.is_null() || number(&item["dueAt"]) > number(&after["dueAt"]))
        .collect();
    found.sort_by_key(|item| number(&item["dueAt"]));
    if body["Select"] == "COUNT" {
        return json!({ "Count": found.len() });
    }
    let limit = usize::try_from(body["Limit"].as_u64().unwrap()).unwrap();
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|item| {
        json!({ "PK": item["PK"], "SK": item["SK"], "dueShard": item["dueShard"], "dueAt": item["dueAt"] })
    });
    json!({ "Items": found, "LastEvaluatedKey": last })
}

fn transact(rows: &mut Rows, body: &Value) -> (u16, Value) {
    let puts: Vec<_> = body["TransactItems"].as_array().unwrap().iter().collect();
    let holds = |put: &Value| {
        let there = rows.get(&key(&put["Item"]));
        let values = &put["ExpressionAttributeValues"];
        match (there, put["ConditionExpression"].as_str().unwrap()) {
            (None, condition) => condition.starts_with("attribute_not_exists(PK)"),
            (Some(row), "#version = :read") => row["version"] == values[":read"],
            (Some(_), "attribute_not_exists(PK)") => false,
            (Some(row), _) => row["open"]["BOOL"] == false || row["sweepId"] == values[":id"],
        }
    };
    let reasons: Vec<_> = puts
        .iter()
        .map(|item| {
            let kept = holds(&item["Put"]);
            json!({ "Code": if kept { "None" } else { "ConditionalCheckFailed" } })
        })
        .collect();
    if reasons.iter().any(|reason| reason["Code"] != "None") {
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        return (
            400,
            json!({ "__type": kind, "CancellationReasons": reasons }),
        );
    }
    for item in puts {
        let row = item["Put"]["Item"].clone();
        rows.insert(key(&row), row);
    }
    (200, json!({}))
}

fn sweeps(world: &World, needs_approval: bool) -> Sweeps {
    let cloud = world.clone();
    let sdk = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::from_static("eu-south-1"))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            aws_sdk_dynamodb::config::Credentials::for_tests(),
        ))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .http_client(infallible_client_fn(move |request| cloud.answer(&request)))
        .build();
    Sweeps {
        table: Table {
            client: aws_sdk_dynamodb::Client::new(&sdk),
            name: "registry".to_owned(),
        },
        sfn: aws_sdk_sfn::Client::new(&sdk),
        workflow_arn: "arn:aws:states:eu-south-1:123456789012:stateMachine:renewal-sweep"
            .to_owned(),
        budget: Budget {
            interval_micros: 200_000,
            per_day: 1000,
        },
        rule: FailureRule::default(),
        needs_approval,
    }
}

fn light(number: u64) -> (ThingName, CertificateId) {
    let name = ThingName::parse(&format!("light-{number:03}")).unwrap();
    (name, CertificateId::of_der(&number.to_be_bytes()))
}

fn rotation(number: u64, attempt: u32) -> OperationId {
    let (name, certificate) = light(number);
    OperationId::of_rotation(&name, &certificate, attempt)
}

/// A device whose certificate has been due for some hours.
fn add_due(world: &World, number: u64, status: &str) {
    let (name, certificate) = light(number);
    let due = clock::now().minus_millis((40 - number) * 3_600_000);
    let device = format!("DEVICE#{name}");
    world.add(
        &device,
        "RECORD",
        &json!({ "thingName": name, "groups": [], "attributes": {}, "status": status,
                 "custody": "device", "createdBy": rotation(0, 9), "operationId": rotation(0, 9),
                 "createdAt": 1, "certificateId": certificate, "listingShard": "DEVICES#00" }),
    );
    world.add(
        &device,
        &format!("CERT#{certificate}"),
        &json!({ "certificateId": certificate, "certificatePem": "PEM", "publicKey": "00",
                 "custody": "device", "issuer": "kms-ca", "issuedAt": 1, "notAfter": 2,
                 "dueAt": due, "dueShard": shard(Day::of(due), u32::try_from(number % 16).unwrap()) }),
    );
}

fn add_rotation(world: &World, id: &OperationId, status: &str) {
    world.add(
        &format!("OP#{id}"),
        "OPERATION",
        &json!({ "status": status }),
    );
}

fn step(id: Option<&SweepId>, run: u32) -> Step {
    Step {
        execution: "scheduled".to_owned(),
        input: Input {
            sweep_id: id.cloned(),
            run,
        },
        after: None,
        failed: None,
    }
}

fn started(next: &Next) -> Vec<&str> {
    match next {
        Next::Start { page, .. } => page
            .iter()
            .map(|start| start.rotation_id.as_str())
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn id(sweep: &Value) -> SweepId {
    SweepId::parse(sweep["sweepId"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_due_is_started_once_and_a_lost_answer_is_planned_again() {
    let (world, now) = (World::default(), clock::now());
    for number in 0..40 {
        add_due(
            &world,
            number,
            if number == 5 { "DELETING" } else { "ACTIVE" },
        );
    }
    add_rotation(&world, &rotation(6, 0), "RUNNING");
    add_rotation(&world, &rotation(7, 0), "FAILED");
    add_rotation(&world, &rotation(8, 0), "STUCK");
    let sweeps = sweeps(&world, false);

    let first = sweeps.step(&step(None, 0)).await.unwrap();
    let ids = started(&first);
    assert_eq!(ids.len(), 37, "{ids:?}");
    for (number, attempt, planned) in [
        (0, 0, true),
        (5, 0, false),
        (6, 0, false),
        (7, 0, false),
        (7, 1, true),
        (8, 0, false),
    ] {
        let named = ids.contains(&rotation(number, attempt).as_str());
        assert_eq!(named, planned, "{number}, attempt {attempt}");
    }
    let again = sweeps.step(&step(None, 0)).await.unwrap();
    assert_eq!(started(&again), ids);

    let Next::Start { after, .. } = first else {
        unreachable!()
    };
    let done = Step {
        after: Some(*after),
        ..step(None, 0)
    };
    let Next::End { sweep } = sweeps.step(&done).await.unwrap() else {
        panic!()
    };
    let told = ["status", "due", "started", "carried"].map(|name| &sweep[name]);
    assert_eq!(told, [&json!("DONE"), &json!(40), &json!(37), &json!(0)]);
    // The same step once more finds it ended.
    let Next::End { sweep: same } = sweeps.step(&done).await.unwrap() else {
        panic!()
    };
    assert_eq!(same["endedAt"], sweep["endedAt"]);

    let query =
        DueQuery::parse(&format!("due=..{}&limit=100", Day::of(now)), Day::of(now)).unwrap();
    let listed = due::list(&sweeps.table, query, Day::of(now).minus(9))
        .await
        .unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 40);
    assert_eq!(listed["items"][0]["thingName"], "light-000");
}

#[tokio::test]
async fn one_sweep_is_open_at_a_time_and_obeys() {
    let world = World::default();
    (0..3).for_each(|number| add_due(&world, number, "ACTIVE"));
    let sweeps = sweeps(&world, true);
    let dry = Asked {
        dry_run: true,
        since: None,
    };
    let forecast = sweeps.start("alice", "dry", dry).await.unwrap();
    assert_eq!(
        (&forecast["status"], &forecast["due"]),
        (&json!("DRY_RUN"), &json!(3))
    );

    let sweep = sweeps.start("alice", "k", Asked::default()).await.unwrap();
    let again = sweeps.start("alice", "k", Asked::default()).await.unwrap();
    assert_eq!(
        (&sweep["status"], id(&again)),
        (&json!("AWAITING_APPROVAL"), id(&sweep))
    );
    let other = sweeps
        .start("alice", "l", Asked::default())
        .await
        .unwrap_err();
    assert_eq!(other.http_status(), 409, "{other}");
    assert!(matches!(
        sweeps.step(&step(None, 0)).await.unwrap(),
        Next::End { .. }
    ));
    assert_eq!(world.executions(), [""; 0]);

    let id = id(&sweep);
    let approved = sweeps.obey(&id, Command::Approve).await.unwrap();
    assert_eq!(approved["status"], "RUNNING");
    assert_eq!(world.executions(), [format!("{id}-1")]);
    assert_eq!(
        started(&sweeps.step(&step(Some(&id), 1)).await.unwrap()).len(),
        3
    );
    sweeps.obey(&id, Command::Pause).await.unwrap();
    assert!(matches!(
        sweeps.step(&step(Some(&id), 1)).await.unwrap(),
        Next::End { .. }
    ));
    sweeps.obey(&id, Command::Resume).await.unwrap();
    // An execution of an earlier run starts nothing more.
    assert!(matches!(
        sweeps.step(&step(Some(&id), 1)).await.unwrap(),
        Next::End { .. }
    ));
    assert_eq!(
        started(&sweeps.step(&step(Some(&id), 2)).await.unwrap()).len(),
        3
    );

    let failed = Step {
        failed: Some("Bug".to_owned()),
        ..step(Some(&id), 2)
    };
    let Next::End { sweep } = sweeps.step(&failed).await.unwrap() else {
        panic!()
    };
    assert_eq!(
        (&sweep["status"], &sweep["carried"]),
        (&json!("ABORTED"), &json!(3))
    );
    add_rotation(&world, &rotation(1, 0), "COMPENSATED");
    sweeps.obey(&id, Command::Retry).await.unwrap();
    let retried = sweeps.step(&step(Some(&id), 3)).await.unwrap();
    assert_eq!(started(&retried), [rotation(1, 1).as_str()]);
}

#[tokio::test]
async fn too_many_failures_end_a_sweep_before_its_next_page() {
    let world = World::default();
    (0..30).for_each(|number| add_due(&world, number, "ACTIVE"));
    let sweeps = sweeps(&world, false);
    let sweep = id(&sweeps.start("alice", "k", Asked::default()).await.unwrap());
    assert_eq!(world.executions(), [format!("{sweep}-0")]);
    let counts = json!({ "renewed": 17, "failed": 3 });
    world.add(&format!("SWEEP#{sweep}"), "COUNTS", &counts);
    let Next::End { sweep } = sweeps.step(&step(Some(&sweep), 0)).await.unwrap() else {
        panic!()
    };
    let told = ["status", "renewed", "failed", "reason"].map(|name| &sweep[name]);
    let reason = json!("3 of 20 rotations failed, more than 10%");
    assert_eq!(told, [&json!("ABORTED"), &json!(17), &json!(3), &reason]);
}

#[tokio::test]
async fn what_a_paused_execution_began_counts_for_the_one_that_goes_on() {
    let world = World::default();
    (0..3).for_each(|number| add_due(&world, number, "ACTIVE"));
    let sweeps = sweeps(&world, true);
    let sweep = sweeps.start("alice", "k", Asked::default()).await.unwrap();
    let id = id(&sweep);
    sweeps.obey(&id, Command::Approve).await.unwrap();
    let page = sweeps.step(&step(Some(&id), 1)).await.unwrap();
    assert_eq!(started(&page).len(), 3);

    // Of that page two have begun when the sweep is paused; one more is
    // somebody else's.
    let other = SweepId::from_key("other");
    for (number, sweep_id) in [(0, &id), (1, &id), (2, &other)] {
        let (rotation_id, device) = (rotation(number, 0), light(number).0);
        add_rotation(&world, &rotation_id, "RUNNING");
        let row = json!({ "rotationId": rotation_id, "sweepId": sweep_id });
        world.add(&format!("DEVICE#{device}"), "ROTATION", &row);
    }
    sweeps.obey(&id, Command::Pause).await.unwrap();
    sweeps.obey(&id, Command::Resume).await.unwrap();
    let Next::End { sweep } = sweeps.step(&step(Some(&id), 2)).await.unwrap() else {
        panic!()
    };
    let told = ["status", "started", "inFlight"].map(|name| &sweep[name]);
    assert_eq!(told, [&json!("DONE"), &json!(2), &json!(2)]);
}
