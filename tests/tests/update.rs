//! Updates: what a request names is changed in AWS and in the registry, and
//! what AWS would refuse is refused first, or taken back.

use std::fs;

use futures_util::future::join_all;
use lamplighter_tests::cloud::{Ask, Cloud, Reply};
use lamplighter_tests::delivery::{created, deliver, lease_over};
use lamplighter_tests::device::{trace, unique};
use lamplighter_tests::faults;
use lamplighter_tests::inventory::{describe, iot, rows, state_of};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::organisation::{Organisation, groups_of, make_group, put_into};
use lamplighter_tests::removal::deleted;
use serde_json::{Value, json};

fn patch(thing: &str, body: &Value) -> Ask {
    Ask::new("PATCH", format!("/devices/{thing}")).text(body.to_string())
}

async fn light(cloud: &Cloud, organisation: &Organisation) -> String {
    let thing = unique("light");
    created(cloud, &organisation.light(&thing)).await;
    thing
}

#[tokio::test]
async fn what_is_named_changes_and_nothing_else() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = light(cloud, &org).await;
    let theirs = unique("theirs");
    make_group(cloud, &theirs, None).await;
    put_into(cloud, &thing, &theirs).await;
    let body = json!({
        "attributes": {"wattage": null, "pole": "7"}, "billingGroup": org.of("other"),
        "joinGroups": [org.of("turin"), org.of("brera")], "leaveGroups": [org.of("navigli")],
    });
    let reply = cloud
        .api(&patch(&thing, &body).header("if-match", "\"1\""))
        .await;
    let answer = reply.expect(200);
    assert_eq!(
        answer["changed"],
        json!(["attributes", "groups", "billingGroup"])
    );
    assert_eq!(
        (&answer["version"], reply.header("etag")),
        (&json!(2), Some("\"2\""))
    );
    let described = describe(cloud, &format!("/things/{thing}"))
        .await
        .expect(200);
    assert_eq!(
        described["attributes"],
        json!({"city": "milan", "pole": "7"})
    );
    assert_eq!(described["billingGroupName"], org.of("other"));
    assert_eq!(described["thingTypeName"], org.of("type"));
    let mut wanted = vec![org.of("brera"), org.of("turin"), theirs];
    wanted.sort();
    assert_eq!(groups_of(cloud, &thing).await, wanted);
    let shown = cloud
        .api(&Ask::new("GET", format!("/devices/{thing}")))
        .await
        .expect(200);
    for field in ["attributes", "groups", "billingGroup", "version"] {
        assert_eq!(shown[field], answer[field], "{field}");
    }
    // Delivered again, it has happened; with another wish, the version is old.
    let again = cloud
        .api(&patch(&thing, &body).header("if-match", "\"1\""))
        .await
        .expect(200);
    assert_eq!(
        (&again["changed"], &again["version"]),
        (&json!([]), &json!(2))
    );
    let other = json!({"attributes": {"city": "turin"}});
    cloud
        .api(&patch(&thing, &other).header("if-match", "\"1\""))
        .await
        .expect(412);
    let mut other = other;
    other["version"] = json!(1);
    cloud
        .api(&patch(&thing, &other).header("idempotency-key", unique("key")))
        .await
        .expect(409);
    // One idempotency key is one update, whatever comes between.
    let key = unique("key");
    let keyed = |city: &str| {
        patch(&thing, &json!({"attributes": {"city": city}})).header("idempotency-key", key.clone())
    };
    assert_eq!(cloud.api(&keyed("genoa")).await.expect(200)["version"], 3);
    let moved_on = json!({"attributes": {"city": "rome"}});
    assert_eq!(
        cloud.api(&patch(&thing, &moved_on)).await.expect(200)["version"],
        4
    );
    assert_eq!(cloud.api(&keyed("genoa")).await.expect(200)["version"], 4);
    deleted(cloud, &thing).await;
}

#[tokio::test]
async fn of_updates_at_once_none_is_lost() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = &light(cloud, &org).await;
    let marks: Vec<String> = (0..24).map(|i| format!("mark{i}")).collect();
    let changes = marks.iter().map(|mark| async move {
        let body = json!({"attributes": {mark: "set"}});
        deliver(cloud, &patch(thing, &body)).await.expect(200);
    });
    join_all(changes).await;
    let ask = Ask::new("GET", format!("/devices/{thing}"));
    let shown = cloud.api(&ask).await.expect(200);
    let described = describe(cloud, &format!("/things/{thing}"))
        .await
        .expect(200);
    for mark in &marks {
        assert_eq!(shown["attributes"][mark], "set", "{shown}");
        assert_eq!(described["attributes"][mark], "set", "{described}");
    }
    assert_eq!(shown["version"], 1 + marks.len());
}

#[tokio::test]
async fn a_device_from_before_there_were_versions_is_updated_too() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = &light(cloud, &org).await;
    let older = json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("DEVICE#{thing}")}, "SK": {"S": "RECORD"}},
        "UpdateExpression": "REMOVE version",
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &older)
        .await;
    let body = json!({"attributes": {"pole": "7"}});
    let answer = cloud.api(&patch(thing, &body)).await.expect(200);
    assert_eq!(answer["version"], 2, "{answer}");
}

#[tokio::test]
async fn what_aws_would_refuse_is_refused_before_anything_is_done() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = light(cloud, &org).await;
    let before = state_of(cloud, &thing).await;
    let nine: Vec<_> = (0..9).map(|n| format!("g{n}")).collect();
    for (body, status, field) in [
        (json!({"groups": nine}), 400, "groups"),
        (json!({"joinGroups": [org.of("brera")]}), 400, "groups"),
        (json!({"groups": [org.of("idle")]}), 400, "groups"),
        (json!({"joinGroups": [unique("none")]}), 422, "groups"),
        (json!({"billingGroup": unique("none")}), 422, "billingGroup"),
        (json!({"thingType": unique("none")}), 422, "thingType"),
        (json!({"attributes": {"a b": "c"}}), 400, "attributes"),
        (json!({"colour": "red"}), 400, "body"),
        (json!({}), 400, "body"),
    ] {
        let problem = cloud.api(&patch(&thing, &body)).await.expect(status);
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert_eq!(state_of(cloud, &thing).await, before, "{body}");
    }
    // Eight groups of others leave no room for two more beside the one it has.
    for _ in 0..8 {
        let theirs = unique("theirs");
        make_group(cloud, &theirs, None).await;
        put_into(cloud, &thing, &theirs).await;
    }
    let body = json!({"joinGroups": [org.of("turin"), org.of("idle")]});
    let problem = cloud.api(&patch(&thing, &body)).await.expect(400);
    assert!(
        problem["reason"]
            .as_str()
            .is_some_and(|r| r.contains("11 groups")),
        "{problem}"
    );
    cloud
        .api(&patch(&unique("none"), &json!({"thingType": "t"})))
        .await
        .expect(404);
}

#[tokio::test]
async fn what_aws_refuses_half_way_is_taken_back() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = light(cloud, &org).await;
    // Somebody has put it into a group of the other city, by hand.
    let below = unique("below");
    make_group(cloud, &below, Some(&org.of("turin"))).await;
    put_into(cloud, &thing, &below).await;
    let body = json!({
        "attributes": {"city": "turin"}, "joinGroups": [org.of("turin")], "billingGroup": null,
    });
    let refused = cloud.api(&patch(&thing, &body)).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text);
    let described = describe(cloud, &format!("/things/{thing}"))
        .await
        .expect(200);
    assert_eq!(described["attributes"]["city"], "milan");
    assert_eq!(described["billingGroupName"], org.of("pays"));
    let shown = cloud
        .api(&Ask::new("GET", format!("/devices/{thing}")))
        .await
        .expect(200);
    assert_eq!(
        (&shown["version"], &shown["attributes"]["city"]),
        (&json!(1), &json!("milan"))
    );
    let id = shown["operationId"].as_str().expect("an operation");
    let operation = cloud
        .api(&Ask::new("GET", format!("/operations/{id}")))
        .await
        .expect(200);
    assert_eq!(
        (&operation["kind"], &operation["status"]),
        (&json!("UPDATE"), &json!("COMPENSATED"))
    );
    // Once the reason is gone, the same works.
    iot(
        cloud,
        "DELETE",
        &format!("/thing-groups/{below}"),
        &Value::Null,
    )
    .await
    .expect(200);
    cloud.api(&patch(&thing, &body)).await.expect(200);
}

/// An update that breaks off at its first effect.
async fn broken_off(cloud: &Cloud, thing: &str) -> Reply {
    let trace = trace();
    let point = faults::Point {
        operation: "iot:UpdateThing".to_owned(),
        nth: 1,
    };
    let fault = faults::strike(cloud, &trace, &point, "kill-after").await;
    let ask = patch(thing, &json!({"attributes": {"city": "turin"}})).trace(&trace);
    let reply = cloud.api(&ask).await;
    assert_eq!(faults::fired(cloud, fault).await, 1);
    reply
}

#[tokio::test]
async fn an_update_is_in_the_way_while_it_runs_and_is_ended_or_fenced_after() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let thing = light(cloud, &org).await;
    broken_off(cloud, &thing).await;
    let busy = cloud
        .once(&patch(&thing, &json!({"billingGroup": null})))
        .await;
    assert_eq!(
        (busy.status, &busy.json()["code"]),
        (503, &json!("Busy")),
        "{}",
        busy.text
    );
    let busy = cloud.once(&Ask::delete(&thing)).await;
    assert_eq!(busy.json()["code"], "Busy", "{}", busy.text);
    // Whoever comes next ends it first.
    lease_over(cloud, &thing).await;
    let next = cloud
        .api(&patch(&thing, &json!({"billingGroup": null})))
        .await
        .expect(200);
    assert_eq!(
        (&next["version"], &next["attributes"]["city"]),
        (&json!(3), &json!("turin"))
    );
    // A deletion fences one that nobody ends.
    let other = light(cloud, &org).await;
    broken_off(cloud, &other).await;
    lease_over(cloud, &other).await;
    deleted(cloud, &other).await;
    let open = rows(cloud)
        .await
        .into_iter()
        .find(|row| row["thingName"]["S"] == *other && row["status"]["S"] == "RUNNING");
    assert_eq!(open, None);
    // What is being deleted is not updated.
    deleted(cloud, &thing).await;
    cloud
        .api(&patch(&thing, &json!({"billingGroup": null})))
        .await
        .expect(404);
}

#[tokio::test]
async fn many_are_updated_from_a_file_and_counted_by_billing_group() {
    let cloud = &Cloud::open();
    let org = Organisation::applied(cloud).await;
    let lights = [light(cloud, &org).await, light(cloud, &org).await];
    let file = std::env::temp_dir().join(unique("devices"));
    let none = unique("none");
    let table = format!(
        "thingName,groups,billingGroup,attributes.city\n{},{},{},turin\n{},,{},\n{none},,,x\n",
        lights[0],
        org.of("turin"),
        org.of("other"),
        lights[1],
        org.of("other"),
    );
    fs::write(&file, table).expect("a file");
    let run = lamp()
        .args([
            "device", "update", "--output", "json", "--tries", "1", "--from",
        ])
        .arg(&file)
        .output()
        .expect("lamp runs");
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    let said = documents(&run);
    assert_eq!(
        said[0]["changed"],
        json!(["attributes", "groups", "billingGroup"])
    );
    assert_eq!(said[1]["changed"], json!(["billingGroup"]));
    assert_eq!(
        (&said[2]["thingName"], &said[2]["error"]["status"]),
        (&json!(none), &json!(404))
    );
    assert_eq!(groups_of(cloud, &lights[0]).await, [org.of("turin")]);
    let _ = fs::remove_file(&file);

    let run = lamp()
        .args(["cost", "--output", "json"])
        .output()
        .expect("lamp runs");
    let report = documents(&run).remove(0);
    let items = report["items"].as_array().expect("items");
    let devices = |name: &str| {
        let found = items.iter().find(|item| item["billingGroup"] == *name);
        found.map(|item| item["devices"].clone())
    };
    assert_eq!(devices(&org.of("other")), Some(json!(2)), "{report}");
    assert_eq!(devices(&org.of("pays")), Some(json!(0)), "{report}");
    deliver(cloud, &patch(&lights[0], &json!({"billingGroup": null})))
        .await
        .expect(200);
    let report = cloud
        .api(&Ask::new("GET", "/cost?by=billingGroup"))
        .await
        .expect(200);
    let other = report["items"].as_array().expect("items").iter();
    let other = other.filter(|item| item["billingGroup"] == org.of("other"));
    assert_eq!(
        other
            .map(|item| item["devices"].clone())
            .collect::<Vec<_>>(),
        [json!(1)]
    );
    cloud
        .api(&Ask::new("GET", "/cost?by=colour"))
        .await
        .expect(400);
}
