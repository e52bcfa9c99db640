//! One device and its dynamic groups: entered when it is created, followed by
//! static groups while there is room, left when it is deleted.

use std::collections::BTreeSet;

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, trace, unique};
use lamplighter_tests::faults::{Point, strike_from};
use lamplighter_tests::groups::{Bus, all, replayed, until, until_in};
use lamplighter_tests::inventory::{describe, iot, row};
use lamplighter_tests::organisation::{self, Organisation, make_group, put_into};
use lamplighter_tests::removal::deleted;
use serde_json::{Value, json};

async fn light(cloud: &Cloud, org: &Organisation) -> String {
    let thing = unique("grouped");
    let mut body = org.light(&thing);
    body["csr"] = Key::make(&thing).csr.into();
    created(cloud, &body).await;
    thing
}

fn declare(org: &mut Organisation, definitions: &[Value]) {
    org.catalog["dynamicGroups"] = definitions.to_vec().into();
}

fn definition(org: &Organisation, rest: &str, query: &str) -> Value {
    let query = format!("thingTypeName:{} AND {query}", org.of("type"));
    json!({"name": org.of(rest), "query": query})
}

async fn patch(cloud: &Cloud, thing: &str, body: &Value) {
    let ask = Ask::new("PATCH", format!("/devices/{thing}")).text(body.to_string());
    cloud.api(&ask).await.expect(200);
}

#[tokio::test]
async fn who_reads_is_told_that_aws_is_silent_before_the_function_ends() {
    let cloud = &Cloud::open();
    let org = &Organisation::applied(cloud).await;
    let body = json!({"query": format!("thingTypeName:{}", org.of("type"))});
    let path = format!("/groups/{}", org.of("read"));
    let put = Ask::new("PUT", &*path).text(body.to_string());
    cloud.api(&put).await.expect(202);

    // Three rounds have their answer at the second attempt, and the next has none.
    // A fault does not count the calls that one before it struck.
    let trace = trace();
    for (operation, nth, times) in [
        ("dynamodb:GetItem", 1, 1),
        ("dynamodb:GetItem", 2, 1),
        ("dynamodb:Query", 1, 1),
        ("dynamodb:GetItem", 3, 99),
    ] {
        let operation = operation.to_owned();
        let point = Point { operation, nth };
        strike_from(cloud, &trace, &point, "never", times).await;
    }
    let members = Ask::new("GET", format!("{path}/members"));
    let late = cloud.api(&members.clone().trace(&trace)).await;
    let told = late.expect(503);
    assert_eq!(told["code"], "Busy", "{told}");
    cloud.api(&members).await.expect(200);
}

#[tokio::test]
async fn a_device_enters_when_it_is_created_and_leaves_when_it_is_deleted() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let mut dim = definition(&org, "dim", "attributes.wattage<80");
    dim["onEnter"] = json!({"job": org.of("job")});
    let step = json!({"name": "Dim", "type": "runHandler", "input": {"handler": "dim.sh"}});
    let document = json!({"version": "1.0", "steps": [{"action": step}]});
    org.catalog["jobTemplates"] = json!([{"name": org.of("job"), "document": document}]);
    let all_of = |org: &Organisation| {
        vec![
            dim.clone(),
            definition(org, "bright", "attributes.wattage>=80"),
            definition(org, "pays", &format!("thingGroupNames:{}", org.of("pays"))),
            definition(
                org,
                "other",
                &format!("thingGroupNames:{}", org.of("other")),
            ),
        ]
    };
    let definitions = all_of(&org);
    declare(&mut org, &definitions);
    org.apply(cloud, "").await.expect_done();
    let bus = Bus::listen(cloud).await;
    let thing = light(cloud, &org).await;
    until_in(cloud, &thing, &org.name, &[org.of("dim"), org.of("pays")]).await;

    // AWS publishes nothing of billing groups; the update does.
    let change = json!({"attributes": {"wattage": "100"}, "billingGroup": org.of("other")});
    patch(cloud, &thing, &change).await;
    until_in(
        cloud,
        &thing,
        &org.name,
        &[org.of("bright"), org.of("other")],
    )
    .await;

    let operation_id = deleted(cloud, &thing).await;
    let path = format!("/operations/{operation_id}");
    let proof = cloud.api(&Ask::new("GET", path)).await.expect(200)["proof"].clone();
    let lines = proof.as_array().expect("a proof");
    let line = lines
        .iter()
        .find(|line| line["subject"] == "dynamic groups");
    assert_eq!(line.expect("a line")["clear"], true, "{proof}");
    for sk in ["DOCUMENT", "MEMBERSHIP"] {
        assert_eq!(
            row(cloud, &format!("DEVICE#{thing}"), sk).await,
            Value::Null
        );
    }
    let gone = cloud
        .api(&Ask::new("GET", format!("/devices/{thing}/groups")))
        .await;
    assert_eq!(gone.status, 404, "{}", gone.text);

    let names: BTreeSet<_> = ["dim", "bright", "pays", "other"]
        .map(|rest| org.of(rest))
        .into();
    let told = std::sync::Mutex::new(Vec::new());
    until(async || {
        let heard = bus.heard(cloud).await;
        let mut told = told.lock().expect("nobody panicked");
        told.extend(heard);
        let members = replayed(&told, &names)?;
        match members.get(&thing) {
            Some(groups) if groups.is_empty() => Ok(()),
            other => Err(format!("by its announcements {thing} is in {other:?}")),
        }
    })
    .await;
    let told = told.into_inner().expect("nobody panicked");
    let entered = told.iter().find(|t| t.group == org.of("dim") && t.entered);
    let entered = entered.expect("it entered");
    assert_eq!(
        entered.event["detail"]["job"],
        org.of("job"),
        "{}",
        entered.event
    );
    for name in &names {
        assert_eq!(
            all(cloud, &format!("/groups/{name}/members"), "thingName", 10).await,
            [""; 0]
        );
        let group = cloud
            .api(&Ask::new("GET", format!("/groups/{name}")))
            .await
            .expect(200);
        assert_eq!(group["members"], 0, "{group}");
    }
}

#[tokio::test]
async fn static_groups_follow_their_definition_while_there_is_room() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let mut lit = definition(&org, "lit", "attributes.wattage:100");
    lit["materialize"] = "static".into();
    let in_it = definition(&org, "in-it", &format!("thingGroupNames:{}", org.of("lit")));
    declare(&mut org, &[lit, in_it]);
    org.apply(cloud, "").await.expect_done();
    let thing = light(cloud, &org).await;
    patch(cloud, &thing, &json!({"attributes": {"wattage": "100"}})).await;
    // The static group is one that others may ask for.
    until_in(cloud, &thing, &org.name, &[org.of("lit"), org.of("in-it")]).await;
    assert!(
        organisation::groups_of(cloud, &thing)
            .await
            .contains(&org.of("lit"))
    );
    patch(cloud, &thing, &json!({"attributes": {"wattage": "60"}})).await;
    until_in(cloud, &thing, &org.name, &[]).await;
    until_out(cloud, &thing, &org.of("lit")).await;

    // Seven more, and one that it is created in: two of AWS's ten stay free.
    let others: Vec<_> = (0..7).map(|n| org.of(&format!("by-hand-{n}"))).collect();
    for group in &others {
        make_group(cloud, group, None).await;
        put_into(cloud, &thing, group).await;
    }
    patch(cloud, &thing, &json!({"attributes": {"wattage": "100"}})).await;
    until(async || {
        let path = format!("/devices/{thing}/groups");
        let found = cloud.api(&Ask::new("GET", path)).await.expect(200);
        match &found["items"][0]["materialization"] {
            Value::String(how) if how == "SATURATED" => Ok(()),
            other => Err(format!("it is {other}: {found}")),
        }
    })
    .await;
    assert!(
        !organisation::groups_of(cloud, &thing)
            .await
            .contains(&org.of("lit"))
    );
    let leave = json!({"thingName": thing, "thingGroupName": others[0]});
    let path = "/thing-groups/removeThingFromThingGroup";
    iot(cloud, "PUT", path, &leave).await.expect(200);
    until_in(cloud, &thing, &org.name, &[org.of("lit"), org.of("in-it")]).await;
    // One that somebody puts it into has its place first.
    put_into(cloud, &thing, &others[0]).await;
    until_out(cloud, &thing, &org.of("lit")).await;
    until_in(cloud, &thing, &org.name, &[org.of("lit")]).await;
}

async fn until_out(cloud: &Cloud, thing: &str, group: &str) {
    until(async || {
        let found = organisation::groups_of(cloud, thing).await;
        if found.iter().all(|name| name != group) {
            return Ok(());
        }
        Err(format!("{thing} is in {found:?}"))
    })
    .await;
}

#[tokio::test]
async fn awss_own_groups_come_and_go_with_their_definition() {
    let cloud = &Cloud::open();
    let indexing = json!({"thingIndexingConfiguration": {"thingIndexingMode": "REGISTRY"}});
    iot(cloud, "POST", "/indexing/config", &indexing)
        .await
        .expect(200);
    let mut org = Organisation::new();
    let path = format!("/thing-groups/{}", org.of("theirs"));
    let mut theirs = definition(&org, "theirs", "attributes.wattage:100");
    theirs["materialize"] = "native".into();
    declare(&mut org, &[theirs.clone()]);
    org.apply(cloud, "").await.expect_done();
    let found = describe(cloud, &path).await.expect(200);
    assert_eq!(found["queryString"], theirs["query"], "{found}");
    theirs["query"] = definition(&org, "theirs", "attributes.wattage:60")["query"].clone();
    declare(&mut org, &[theirs.clone()]);
    org.apply(cloud, "").await.expect_done();
    let found = describe(cloud, &path).await.expect(200);
    assert_eq!(found["queryString"], theirs["query"], "{found}");
    theirs["materialize"] = "static".into();
    declare(&mut org, &[theirs]);
    org.apply(cloud, "").await.expect_done();
    let found = describe(cloud, &path).await.expect(200);
    assert_eq!(found["queryString"], Value::Null, "{found}");
    declare(&mut org, &[]);
    org.apply(cloud, "").await.expect_done();
    assert_eq!(describe(cloud, &path).await.status, 404);
}

#[tokio::test]
async fn what_depends_on_itself_or_is_somebody_elses_is_refused() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let mut swings = definition(
        &org,
        "swings",
        &format!("NOT thingGroupNames:{}", org.of("swings")),
    );
    swings["materialize"] = "static".into();
    declare(&mut org, &[swings.clone()]);
    let refused = org.apply(cloud, "").await;
    assert_eq!(
        (refused.status, &refused.answer["field"]),
        (400, &json!("dynamicGroups[0].query"))
    );
    swings["query"] = definition(&org, "swings", "attributes.wattage:1")["query"].clone();
    declare(&mut org, &[swings]);
    make_group(cloud, &org.of("swings"), None).await;
    let planned = org.apply(cloud, "?dryRun=true").await;
    let reason = planned.answer["refused"][0]["reason"].as_str();
    assert!(
        reason.is_some_and(|reason| reason.contains("another group")),
        "{}",
        planned.answer
    );
    let refused = org.apply(cloud, "").await;
    assert_eq!(refused.status, 409, "{}", refused.answer);
}

#[tokio::test]
async fn a_thing_that_is_deleted_or_changed_by_hand_is_followed() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let typed = definition(&org, "typed", "thingName:*");
    let untyped = json!({
        "name": org.of("untyped"),
        "query": format!("attributes.of:{} AND NOT thingTypeName:*", org.name),
    });
    declare(&mut org, &[typed, untyped]);
    org.apply(cloud, "").await.expect_done();
    let thing = light(cloud, &org).await;
    until_in(cloud, &thing, &org.name, &[org.of("typed")]).await;
    let change =
        json!({"removeThingType": true, "attributePayload": {"attributes": {"of": org.name}}});
    let path = format!("/things/{thing}");
    iot(cloud, "PATCH", &path, &change).await.expect(200);
    until_in(cloud, &thing, &org.name, &[org.of("untyped")]).await;
}
