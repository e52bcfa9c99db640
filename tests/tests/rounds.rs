//! A creation is five rounds of calls: each round waits for the one before it,
//! and within a round everything is under way at once.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, trace, unique};
use lamplighter_tests::faults::points;
use serde_json::{Value, json};

const CLAIM: &[&str] = &[
    "dynamodb:TransactWriteItems",
    "iot:DescribeThing",
    "iot:DescribeThingGroup",
    "iot:ListAttachedPolicies",
];
const THING: &[&str] = &["dynamodb:UpdateItem", "iot:CreateThing"];
const CERTIFICATE: &[&str] = &["iot:AddThingToThingGroup", "iot:CreateCertificateFromCsr"];
const POWER: &[&str] = &["dynamodb:UpdateItem", "iot:AttachThingPrincipal"];
const COMMIT: &[&str] = &["dynamodb:TransactWriteItems"];

/// The calls, in the order in which they came, fall into these rounds.
async fn check(cloud: &Cloud, body: &Value, rounds: [Vec<&str>; 5]) {
    let trace = trace();
    let reply = cloud.api(&Ask::create(body).trace(&trace)).await;
    reply.expect(201);
    let calls = points(cloud, &trace).await;
    let all: Vec<_> = calls.iter().map(|call| call.operation.as_str()).collect();
    let mut rest = all.as_slice();
    for mut round in rounds {
        assert!(rest.len() >= round.len(), "{all:?}");
        let (now, later) = rest.split_at(round.len());
        let mut now = now.to_vec();
        now.sort_unstable();
        round.sort_unstable();
        assert_eq!(now, round, "{all:?}");
        rest = later;
    }
    assert!(rest.is_empty(), "calls after the commit: {all:?}");
}

#[tokio::test]
async fn a_creation_is_five_rounds() {
    let cloud = Cloud::open();
    // Warm, so that a cold start makes no difference.
    created(&cloud, &json!({"thingName": unique("warm")})).await;
    let thing = unique("rounds");
    let by_request = json!({"thingName": thing, "csr": Key::make(&thing).csr});
    let rounds = [CLAIM, THING, CERTIFICATE, POWER, COMMIT].map(<[&str]>::to_vec);
    check(&cloud, &by_request, rounds).await;

    let with_key = json!({"thingName": unique("rounds")});
    let sealed = [CLAIM, &["kms:GenerateDataKey"]].concat();
    let stored = [THING, &["s3:PutObject"]].concat();
    let [certificate, power, commit] = [CERTIFICATE, POWER, COMMIT].map(<[&str]>::to_vec);
    check(
        &cloud,
        &with_key,
        [sealed, stored, certificate, power, commit],
    )
    .await;
}
