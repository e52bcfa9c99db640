//! Enrolment: a light that lost its key, or slept past its certificate's end,
//! comes back with a token; nobody else does, and nothing can be probed.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lamplighter_tests::authority;
use lamplighter_tests::cases::{certificate, opened, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver, invites_repetition};
use lamplighter_tests::device::{Key, public_key_of_certificate, unique};
use lamplighter_tests::enrolment::{Lost, enrolment, issued, sent, token_for};
use lamplighter_tests::inventory::{describe, principals, row, state_of};
use lamplighter_tests::removal::{deleted, ended};
use lamplighter_tests::rotation::{Event, Light, delivered};
use serde_json::{Value, json};

/// The device proves what it was enrolled with; the rotation comes to its end.
async fn proved(cloud: &Cloud, light: &Light) {
    let proof = light.event(cloud, Event::Proof).await;
    delivered(cloud, &proof, None).await;
    assert_eq!(ended(cloud, &light.rotation).await, "DONE");
    let only = light.new_id(cloud).await;
    let attached = principals(cloud, &light.thing).await;
    assert_eq!(attached.len(), 1, "{attached:?}");
    assert!(attached[0].ends_with(&only), "{attached:?}");
    assert_eq!(certificate(cloud, &only).await.0, "ACTIVE");
    let record = row(cloud, &format!("DEVICE#{}", light.thing), "RECORD").await;
    assert_eq!(record["certificateId"]["S"], only);
}

async fn comes_back(issuer: &str) {
    let cloud = Cloud::open();
    authority::ready(&cloud).await;
    let lost = Lost::of(&cloud, &json!({"issuer": issuer})).await;
    let answer = sent(&cloud, &lost.ask()).await.expect(201);
    let id = answer["certificateId"].as_str().expect("an id");
    let pem = answer["certificatePem"].as_str().expect("a certificate");
    assert_eq!(public_key_of_certificate(pem), lost.key.id);
    assert_eq!(answer["thingName"], lost.thing);
    assert!(answer["endpoint"].is_string() && answer["serverCaPem"].is_string());
    match answer["issuerPem"].as_str() {
        Some(issuer) => assert!(authority::openssl_accepts(issuer, pem)),
        None => assert_eq!(issuer, "aws-iot"),
    }
    // Until it is proved both are in force, and the answer is the same again.
    for id in [id, &lost.old] {
        assert_eq!(certificate(&cloud, id).await.0, "ACTIVE");
    }
    assert_eq!(sent(&cloud, &lost.ask()).await.expect(201), answer);
    let ask = lost.ask();
    let light = lost.light(&answer);
    proved(&cloud, &light).await;
    let gone = describe(&cloud, &format!("/certificates/{}", light.old)).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
    assert_eq!(sent(&cloud, &ask).await.expect(201), answer);
    let state = state_of(&cloud, &light.thing).await;
    assert_eq!(state["keys"], 1, "{state}");
}

#[tokio::test]
async fn a_light_that_lost_its_key_comes_back() {
    comes_back("aws-iot").await;
}

#[tokio::test]
async fn a_light_of_our_own_authority_comes_back_too() {
    comes_back("kms-ca").await;
}

#[tokio::test]
async fn a_light_whose_key_was_in_custody_leaves_none_there() {
    let cloud = &Cloud::open();
    let lost = Lost::of(cloud, &json!({"csr": null})).await;
    let thing = lost.thing.clone();
    assert_eq!(state_of(cloud, &thing).await["keyVersions"], 1);
    let answer = sent(cloud, &lost.ask()).await.expect(201);
    proved(cloud, &lost.light(&answer)).await;
    assert_eq!(state_of(cloud, &thing).await["keyVersions"], 0);
}

#[tokio::test]
async fn a_token_is_for_an_active_device_and_the_last_one_counts() {
    let cloud = Cloud::open();
    let lost = Lost::new(&cloud).await;
    let check = async |thing: &str, body: &Value, status: u16, field: &str| {
        let reply = deliver(&cloud, &token_for(thing, body)).await;
        assert_eq!(reply.expect(status)["field"], field, "{body}");
    };
    let good = json!({"reason": "a test"});
    check(&unique("nobody"), &good, 404, "thingName").await;
    check(&lost.thing, &json!({}), 400, "reason").await;
    check(
        &lost.thing,
        &json!({"reason": "x", "minutes": 1441}),
        400,
        "minutes",
    )
    .await;
    let unsigned = cloud.unsigned(&token_for(&lost.thing, &good)).await;
    assert_eq!(unsigned.status, 403, "{}", unsigned.text);

    let later = issued(&cloud, &lost.thing).await;
    sent(&cloud, &lost.ask()).await.expect(403);
    let ask = enrolment(&lost.thing, &later, &lost.key.csr);
    sent(&cloud, &ask).await.expect(201);
}

/// Lets a token's time be over, as time would.
async fn expire(cloud: &Cloud, thing: &str) {
    let update = json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("DEVICE#{thing}")}, "SK": {"S": "ENROLMENT"}},
        "UpdateExpression": "SET endsAt = :past",
        "ConditionExpression": "attribute_exists(PK)",
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
        .await;
}

/// Whatever is wrong, the answer is the same to the byte, and nothing changes.
#[tokio::test]
async fn what_is_wrong_with_a_token_cannot_be_told_from_the_answer() {
    let cloud = Cloud::open();
    let victim = Lost::new(&cloud).await;
    let other = Lost::new(&cloud).await;
    let expired = Lost::new(&cloud).await;
    expire(&cloud, &expired.thing).await;
    let used = Lost::new(&cloud).await;
    sent(&cloud, &used.ask()).await.expect(201);
    let going = Lost::new(&cloud).await;
    let gone = Lost::new(&cloud).await;
    deleted(&cloud, &gone.thing).await;
    let never = Light::new(&cloud).await;
    let deletion = deliver(&cloud, &Ask::delete(&going.thing))
        .await
        .expect(202);

    let (csr, no_token) = (&victim.key.csr, "0".repeat(64));
    let before = [&victim, &other].map(|each| state_of(&cloud, &each.thing));
    let before = join_all(before).await;
    let mut answers = BTreeSet::new();
    for ask in [
        enrolment(&victim.thing, &no_token, csr),
        enrolment(&victim.thing, &other.token, csr),
        enrolment(&unique("nobody"), &victim.token, csr),
        enrolment(&never.thing, &no_token, csr),
        enrolment(&gone.thing, &gone.token, &gone.key.csr),
        enrolment(&going.thing, &going.token, &going.key.csr),
        enrolment(&used.thing, &used.token, csr),
        enrolment(&used.thing, &used.token, &Key::make(&used.thing).csr),
        expired.ask(),
    ] {
        let reply = sent(&cloud, &ask).await;
        assert_eq!(reply.status, 403, "{ask:?}: {}", reply.text);
        let named = |(name, _): &&(String, String)| name != "date" && name != "apigw-requestid";
        let mut headers: Vec<_> = reply.headers.iter().filter(named).collect();
        headers.sort();
        answers.insert(format!("{} {headers:?}", reply.text));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let after = [&victim, &other].map(|each| state_of(&cloud, &each.thing));
    assert_eq!(join_all(after).await, before);
    let id = deletion["operationId"].as_str().expect("an id");
    assert_eq!(ended(&cloud, id).await, "DONE");

    // A name that is created anew is another device.
    let body = json!({"thingName": gone.thing, "csr": Key::make(&gone.thing).csr});
    created(&cloud, &body).await;
    sent(&cloud, &gone.ask()).await.expect(403);
    // And what is malformed says so, whoever it names.
    for ask in [
        enrolment(&victim.thing, &victim.token.to_uppercase(), csr),
        enrolment(&victim.thing, &victim.token, "-"),
        enrolment("a b", &victim.token, csr),
    ] {
        sent(&cloud, &ask).await.expect(400);
    }
    sent(&cloud, &victim.ask()).await.expect(201);
}

#[tokio::test]
async fn of_twenty_keys_at_once_one_is_admitted() {
    let cloud = &Cloud::open();
    let lost = Lost::new(cloud).await;
    let keys: Vec<_> = (0..20).map(|_| Key::make(&lost.thing)).collect();
    let asks = keys.iter().map(async |key| {
        let ask = enrolment(&lost.thing, &lost.token, &key.csr);
        sent(cloud, &ask).await
    });
    let replies = join_all(asks).await;
    let admitted: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(admitted.len(), 1, "{replies:?}");
    assert_eq!(
        replies.iter().filter(|reply| reply.status == 403).count(),
        19
    );
    let state = state_of(cloud, &lost.thing).await;
    assert_eq!(
        state["certificates"],
        json!(["ACTIVE", "ACTIVE"]),
        "{state}"
    );
    assert_eq!(state["keys"], 2, "{state}");
    let answer = admitted[0].json();
    let mut light = lost.light(&answer);
    let id = public_key_of_certificate(answer["certificatePem"].as_str().expect("PEM"));
    light.key = keys
        .into_iter()
        .find(|key| key.id == id)
        .expect("one of them");
    proved(cloud, &light).await;
}

#[tokio::test]
async fn a_key_that_is_in_use_is_refused_and_the_token_stays_good() {
    let cloud = Cloud::open();
    let (lost, other) = (Lost::new(&cloud).await, unique("owner"));
    let theirs = Key::make(&other);
    created(&cloud, &json!({"thingName": other, "csr": theirs.csr})).await;
    let ask = enrolment(&lost.thing, &lost.token, &theirs.csr);
    let problem = sent(&cloud, &ask).await.expect(409);
    assert_eq!(problem["field"], "csr", "{problem}");
    sent(&cloud, &lost.ask()).await.expect(201);
}

#[tokio::test]
async fn a_case_makes_tokens_worthless_and_a_revoked_certificate_stays_so() {
    let cloud = Cloud::open();
    let lost = Lost::new(&cloud).await;
    let case = opened(&cloud, &lost.thing, "confirmed").await;
    let id = case["caseId"].as_str().expect("an id");
    sent(&cloud, &lost.ask()).await.expect(403);
    let ask = token_for(&lost.thing, &json!({"reason": "a test"}));
    let problem = deliver(&cloud, &ask).await.expect(409);
    assert!(
        problem["reason"].as_str().expect("a reason").contains(id),
        "{problem}"
    );
    secured(&cloud, id).await;
    let closing = Ask::new("POST", format!("/cases/{id}/closing"));
    deliver(&cloud, &closing).await.expect(200);
    // What was issued before the case is worth nothing after it either.
    sent(&cloud, &lost.ask()).await.expect(403);
    // The certificate renews nothing; a token does.
    let renewal = Ask::new(
        "POST",
        format!("/devices/{}/certificate/renewal", lost.thing),
    );
    deliver(&cloud, &renewal).await.expect(409);
    let token = issued(&cloud, &lost.thing).await;
    let ask = enrolment(&lost.thing, &token, &lost.key.csr);
    let answer = sent(&cloud, &ask).await.expect(201);
    let light = lost.light(&answer);
    proved(&cloud, &light).await;
    assert_eq!(
        certificate(&cloud, &light.old).await,
        ("REVOKED".to_owned(), true)
    );
    let kept = row(
        &cloud,
        &format!("DEVICE#{}", light.thing),
        &format!("CERT#{}", light.old),
    )
    .await;
    assert!(kept["revokedAt"].is_object(), "{kept}");
    // Its key belongs to nobody else ever after, until the device is deleted.
    let state = state_of(&cloud, &light.thing).await;
    assert_eq!(state["keys"], 2, "{state}");
    deleted(&cloud, &light.thing).await;
}

#[tokio::test]
async fn an_enrolment_without_proof_is_rolled_back() {
    let cloud = Cloud::open();
    let lost = Lost::new(&cloud).await;
    let answer = sent(&cloud, &lost.ask()).await.expect(201);
    let ask = lost.ask();
    let light = lost.light(&answer);
    assert_eq!(ended(&cloud, &light.rotation).await, "FAILED");
    let attached = principals(&cloud, &light.thing).await;
    assert!(
        attached.len() == 1 && attached[0].ends_with(&light.old),
        "{attached:?}"
    );
    assert_eq!(certificate(&cloud, &light.old).await.0, "ACTIVE");
    let state = state_of(&cloud, &light.thing).await;
    assert_eq!(state["keys"], 1, "{state}");
    // Its token is spent; another one admits the same key.
    sent(&cloud, &ask).await.expect(403);
    let token = issued(&cloud, &light.thing).await;
    let again = enrolment(&light.thing, &token, &light.key.csr);
    sent(&cloud, &again).await.expect(201);
}

/// A rotation that is under way, through its real workflow.
async fn renewing(cloud: &Cloud, thing: &str, old: &str, phase: &str) -> Light {
    let light = Light::renewing(cloud, thing, old).await;
    for (reached, next) in [("REQUESTED", Event::Request), ("ISSUED", Event::Proof)] {
        light.reaches(cloud, reached).await;
        // The workflow waits by then, and writes nothing.
        light.waits(cloud).await;
        light.unhurried(cloud).await;
        if reached == phase {
            return light;
        }
        delivered(cloud, &light.event(cloud, next).await, None).await;
    }
    light.reaches(cloud, phase).await;
    light
}

#[tokio::test]
async fn an_enrolment_takes_an_open_rotation_over() {
    let cloud = &Cloud::open();
    let each = ["REQUESTED", "ISSUED"].map(async |phase| {
        let lost = Lost::new(cloud).await;
        let open = renewing(cloud, &lost.thing, &lost.old, phase).await;
        let before = open.new_id(cloud).await;
        let answer = sent(cloud, &lost.ask()).await.expect(201);
        assert_eq!(answer["rotationId"], open.rotation, "{phase}");
        assert_ne!(answer["certificateId"], before);
        if !before.is_empty() {
            let gone = describe(cloud, &format!("/certificates/{before}")).await;
            assert_eq!(gone.status, 404, "{}", gone.text);
        }
        // What comes with the old certificate takes nothing back.
        let late = open.event(cloud, Event::Request).await;
        delivered(cloud, &late, None).await;
        assert_eq!(sent(cloud, &lost.ask()).await.expect(201), answer);
        proved_soon(cloud, &lost.light(&answer)).await;
    });
    join_all(each).await;
}

/// The key that was proved is the one that is lost: what was retired is kept no
/// longer, and another rotation brings another certificate.
#[tokio::test]
async fn an_enrolment_ends_a_rotation_that_is_proved() {
    let cloud = Cloud::open();
    let lost = Lost::new(&cloud).await;
    let first = renewing(&cloud, &lost.thing, &lost.old, "RETIRED").await;
    let proven = first.new_id(&cloud).await;
    let answer = sent(&cloud, &lost.ask()).await.expect(201);
    assert_ne!(answer["rotationId"], first.rotation);
    assert_eq!(ended(&cloud, &first.rotation).await, "DONE");
    assert_eq!(certificate(&cloud, &proven).await.0, "ACTIVE");
    let mut light = lost.light(&answer);
    light.old = proven;
    proved(&cloud, &light).await;
}

/// As [`proved`], in a rotation whose time of grace a test has made long.
async fn proved_soon(cloud: &Cloud, light: &Light) {
    light.hurried(cloud).await;
    proved(cloud, light).await;
}

/// The rest of the API goes on meanwhile.
#[tokio::test]
async fn beyond_its_rate_the_open_route_is_throttled_and_no_other() {
    let cloud = &Cloud::open();
    let ask = &enrolment("nobody", &"0".repeat(64), &Key::make("x").csr);
    let replies = join_all((0..200).map(|_| cloud.unsigned(ask))).await;
    let statuses: BTreeSet<_> = replies.iter().map(|reply| reply.status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    let refused = replies.iter().filter(|reply| reply.status == 403).count();
    assert!(refused > 0, "{statuses:?}");
    let ask = Ask::new("GET", "/devices?limit=1");
    assert!(!invites_repetition(&cloud.api(&ask).await));
}
