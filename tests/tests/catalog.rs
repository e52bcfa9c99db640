//! The catalog: planned, applied, applied again; changed, drifted from, and
//! taken back, with devices that use it.

use std::fs;
use std::path::PathBuf;

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::unique;
use lamplighter_tests::groups::until;
use lamplighter_tests::inventory::{describe, iot, row, rows};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::organisation::{
    Organisation, document, groups_of, job_document, make_group, put_into,
};
use serde_json::{Value, json};

/// What `lamp catalog` said, and its exit code.
fn said(arguments: &[&str], org: &Organisation) -> (i32, Value) {
    let file: PathBuf = std::env::temp_dir().join(format!("{}.yaml", org.name));
    fs::write(&file, org.catalog.to_string()).expect("a file");
    let output = lamp()
        .arg("catalog")
        .args(arguments)
        .args(["--output", "json"])
        .arg(&file)
        .output()
        .expect("lamp runs");
    let _ = fs::remove_file(&file);
    let answer = documents(&output).pop().unwrap_or_default();
    (output.status.code().expect("a code"), answer)
}

#[tokio::test]
async fn applied_twice_it_changes_nothing_and_a_change_is_told_by_its_fields() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let template = org.of("job");
    // Lights of other tests are not to get this one's job.
    let of_type = format!("thingTypeName:{} AND attributes.city:", org.of("type"));
    let query = |city: &str| format!("{of_type}{city}");
    org.catalog["jobTemplates"] = json!([{"name": template, "document": job_document()}]);
    org.catalog["dynamicGroups"] = json!([
        {"name": org.of("old"), "query": query("milan"), "onEnter": {"job": template}},
        {"name": org.of("new"), "query": "attributes.city:turin"},
    ]);
    let (exit, plan) = said(&["plan", "--detailed-exit-code"], &org);
    assert_eq!(
        (exit, plan["changes"].as_array().map(Vec::len)),
        (4, Some(14)),
        "{plan}"
    );
    assert_eq!(
        describe(cloud, &format!("/policies/{}", org.of("policy")))
            .await
            .status,
        404
    );
    let (exit, applied) = said(&["apply"], &org);
    assert_eq!((exit, &applied["status"]), (0, &json!("DONE")), "{applied}");
    for command in [&["apply"][..], &["plan", "--detailed-exit-code"]] {
        let (exit, again) = said(command, &org);
        assert_eq!((exit, &again["changes"]), (0, &json!([])), "{again}");
        assert_eq!(
            again["unchanged"].as_array().map(Vec::len),
            Some(14),
            "{again}"
        );
    }
    let version = row(cloud, "DEFINITIONS", "VERSION").await["version"]["N"].clone();
    let definition = row(cloud, "DEFINITIONS", &format!("GROUP#{}", org.of("old"))).await;
    assert_eq!(definition["revision"]["N"], "1", "{definition}");

    org.entry("groups", "milan")["attributes"]["city"] = "turin".into();
    org.entry("billingGroups", "pays")["tags"] = json!({"payer": "42"});
    org.entry("dynamicGroups", "old")["query"] = query("genoa").into();
    let changed = org.apply(cloud, "").await;
    changed.expect_done().expect(&[
        format!("update billing group {}", org.of("pays")),
        format!("update group {}", org.of("milan")),
        format!("update dynamic group {}", org.of("old")),
    ]);
    let fields = &changed.answer["changes"][1]["fields"];
    let told = json!([{"field": "attributes.city", "before": "milan", "after": "turin"}]);
    assert_eq!(*fields, told);
    org.apply(cloud, "").await.expect_done().expect(&[]);
    let definition = row(cloud, "DEFINITIONS", &format!("GROUP#{}", org.of("old"))).await;
    assert_eq!(definition["revision"]["N"], "2", "{definition}");
    assert_ne!(
        row(cloud, "DEFINITIONS", "VERSION").await["version"]["N"],
        version
    );
    let group = describe(cloud, &format!("/billing-groups/{}", org.of("pays")))
        .await
        .expect(200);
    let arn = group["billingGroupArn"].as_str().expect("an ARN");
    let tags = describe(cloud, &format!("/tags?resourceArn={arn}"))
        .await
        .expect(200);
    assert_eq!(tags["tags"], json!([{"Key": "payer", "Value": "42"}]));
}

#[tokio::test]
async fn a_policy_changes_by_versions_and_the_oldest_makes_room() {
    let cloud = &Cloud::open();
    let mut org = Organisation::applied(cloud).await;
    let policy = org.of("policy");
    let stop = Ask::new("POST", format!("/policies/{policy}/stop"));
    cloud
        .api(&stop.text(json!({"reason": "a test"}).to_string()))
        .await
        .expect(200);
    let kept = org.apply(cloud, "").await;
    assert_eq!(kept.answer["kept"][0]["name"], *policy, "{}", kept.answer);
    cloud
        .api(&Ask::new("POST", format!("/policies/{policy}/resume")))
        .await
        .expect(200);
    for n in 1..=6 {
        org.entry("policies", "policy")["document"]["Id"] = format!("change-{n}").into();
        let changed = org.apply(cloud, "").await;
        changed
            .expect_done()
            .expect(&[format!("update policy {policy}")]);
        let found = describe(cloud, &format!("/policies/{policy}"))
            .await
            .expect(200);
        let text = found["policyDocument"].as_str().expect("a document");
        let found: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(found["Id"], format!("change-{n}"));
    }
    let versions = describe(cloud, &format!("/policies/{policy}/version"))
        .await
        .expect(200);
    let ids = versions["policyVersions"].as_array().expect("versions");
    let id = |version: &Value| version["versionId"].as_str().expect("an id").to_owned();
    let ids: Vec<_> = ids.iter().map(id).collect();
    // The second version is the one that stops.
    assert_eq!(
        (
            ids.len(),
            ids.contains(&"2".to_owned()),
            ids.contains(&"1".to_owned())
        ),
        (5, true, false),
        "{ids:?}"
    );
    // A document that a version has is made the default again.
    org.entry("policies", "policy")["document"]["Id"] = "change-5".into();
    org.apply(cloud, "").await.expect_done();
    let again = describe(cloud, &format!("/policies/{policy}/version"))
        .await
        .expect(200);
    assert_eq!(again["policyVersions"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn what_was_changed_by_hand_is_shown_and_put_back_and_what_is_not_ours_is_left() {
    let cloud = &Cloud::open();
    let mut org = Organisation::applied(cloud).await;
    let (milan, policy) = (org.of("milan"), org.of("policy"));
    let body =
        json!({"thingGroupProperties": {"attributePayload": {"attributes": {"city": "rome"}}}});
    iot(cloud, "PATCH", &format!("/thing-groups/{milan}"), &body)
        .await
        .expect(200);
    let theirs = unique("theirs");
    let made = json!({"policyDocument": document().to_string()});
    iot(cloud, "POST", &format!("/policies/{theirs}"), &made)
        .await
        .expect(200);
    let described = describe(cloud, &format!("/thing-groups/{milan}"))
        .await
        .expect(200);
    let target = json!({"target": described["thingGroupArn"]});
    iot(cloud, "PUT", &format!("/target-policies/{theirs}"), &target)
        .await
        .expect(200);
    let drift = [
        format!("update group {milan}"),
        format!("delete attachment {theirs} to {milan}"),
    ];
    org.apply(cloud, "?dryRun=true").await.expect(&drift);
    org.apply(cloud, "").await.expect_done().expect(&drift);
    org.apply(cloud, "").await.expect(&[]);

    // Somebody else's group, and somebody else's policy of the same name.
    make_group(cloud, &org.of("square"), None).await;
    let square = json!({"name": org.of("square"), "description": "Another"});
    let groups = org.catalog["groups"].as_array_mut();
    groups.expect("groups").push(square);
    let refused = org.apply(cloud, "").await;
    assert_eq!(refused.status, 409, "{}", refused.answer);
    assert_eq!(
        refused.answer["refused"][0]["fields"][0]["field"],
        "description"
    );
    org.remove("groups", "square");
    org.apply(cloud, "").await.expect_done().expect(&[]);
    assert_eq!(
        describe(cloud, &format!("/thing-groups/{}", org.of("square")))
            .await
            .status,
        200
    );
    assert_eq!(
        describe(cloud, &format!("/policies/{policy}")).await.status,
        200
    );
}

/// Lets a thing type have been deprecated for so long that AWS deletes it.
async fn age(cloud: &Cloud, thing_type: &str) {
    let body = json!({"name": thing_type, "seconds": 301});
    let ask = Ask::new("POST", "/_lamplighter/thing-types/age").text(body.to_string());
    cloud.aws("lambda", &ask).await.expect(200);
}

#[tokio::test]
async fn a_changed_thing_type_becomes_another_and_its_things_with_it() {
    let cloud = &Cloud::open();
    let mut org = Organisation::applied(cloud).await;
    let (first, second) = (org.of("type"), format!("{}-v2", org.of("type")));
    let lights: Vec<_> = (0..3).map(|_| unique("light")).collect();
    for light in &lights {
        created(cloud, &org.light(light)).await;
    }
    org.entry("thingTypes", "type")["searchableAttributes"] = json!(["city", "wattage"]);
    let (exit, applied) = said(&["apply"], &org);
    assert_eq!((exit, &applied["status"]), (4, &json!("DONE")), "{applied}");
    assert_eq!(applied["progress"]["moved"], 3, "{applied}");
    assert_eq!(applied["waiting"][0]["name"], *first, "{applied}");
    for light in &lights {
        let described = describe(cloud, &format!("/things/{light}"))
            .await
            .expect(200);
        assert_eq!(described["thingTypeName"], *second);
        assert_eq!(described["attributes"]["city"], "milan");
        let shown = cloud
            .api(&Ask::new("GET", format!("/devices/{light}")))
            .await
            .expect(200);
        assert_eq!(shown["thingType"], *second);
    }
    // Whoever creates by the declared name gets what it is now, and a creation
    // that is repeated finds its device.
    let late = unique("light");
    created(cloud, &org.light(&late)).await;
    let described = describe(cloud, &format!("/things/{late}"))
        .await
        .expect(200);
    assert_eq!(described["thingTypeName"], *second);
    cloud
        .api(&Ask::create(&org.light(&lights[0])))
        .await
        .expect(200);
    let body = json!({"thingType": first, "attributes": {"city": "turin"}});
    let patch = Ask::new("PATCH", format!("/devices/{late}")).text(body.to_string());
    assert_eq!(
        cloud.api(&patch).await.expect(200)["changed"],
        json!(["attributes"])
    );

    org.apply(cloud, "").await.expect_done().expect(&[]);
    age(cloud, &first).await;
    let gone = org.apply(cloud, "").await;
    gone.expect_done()
        .expect(&[format!("delete thing type {first}")]);
    assert_eq!(
        describe(cloud, &format!("/thing-types/{first}"))
            .await
            .status,
        404
    );
    org.apply(cloud, "").await.expect_done().expect(&[]);

    // A type that somebody deprecated by hand is taken back into use.
    let body = json!({"undoDeprecate": false});
    iot(
        cloud,
        "POST",
        &format!("/thing-types/{second}/deprecate"),
        &body,
    )
    .await
    .expect(200);
    let back = org.apply(cloud, "").await;
    back.expect_done()
        .expect(&[format!("update thing type {first}")]);
}

#[tokio::test]
async fn what_is_in_use_is_refused_with_its_users_or_drained() {
    let cloud = &Cloud::open();
    let mut org = Organisation::applied(cloud).await;
    let light = unique("light");
    created(cloud, &org.light(&light)).await;
    let kept = org.catalog.clone();
    org.remove("groups", "navigli");
    org.remove("billingGroups", "pays");
    let (exit, refused) = said(&["plan"], &org);
    assert_eq!(exit, 3, "{refused}");
    let users = &refused["refused"][0]["users"];
    assert_eq!(
        (&users["first"], &users["count"]),
        (&json!([light]), &json!(1)),
        "{refused}"
    );
    let refused = org.apply(cloud, "").await;
    assert_eq!(refused.status, 409, "{}", refused.answer);

    let (exit, drained) = said(&["apply", "--drain"], &org);
    assert_eq!((exit, &drained["status"]), (0, &json!("DONE")), "{drained}");
    assert_eq!(drained["progress"]["moved"], 2, "{drained}");
    assert_eq!(
        groups_of(cloud, &light).await,
        [cloud.stack("DefaultGroup")]
    );
    let shown = cloud
        .api(&Ask::new("GET", format!("/devices/{light}")))
        .await
        .expect(200);
    assert_eq!(shown["billingGroup"], Value::Null, "{shown}");
    for path in [
        format!("/thing-groups/{}", org.of("navigli")),
        format!("/billing-groups/{}", org.of("pays")),
    ] {
        assert_eq!(describe(cloud, &path).await.status, 404, "{path}");
    }

    // A type in use cannot be drained. What is no device of ours stalls.
    org.remove("thingTypes", "type");
    let refused = org.apply(cloud, "?drain=true").await;
    assert_eq!(refused.status, 409, "{}", refused.answer);
    org.catalog = kept;
    org.apply(cloud, "").await.expect_done();
    let stranger = unique("stranger");
    iot(cloud, "POST", &format!("/things/{stranger}"), &json!({}))
        .await
        .expect(200);
    put_into(cloud, &stranger, &org.of("idle")).await;
    org.remove("groups", "idle");
    let (exit, stalled) = said(&["apply", "--drain"], &org);
    assert_eq!(exit, 1, "{stalled}");
    let failures = stalled["progress"]["failures"]
        .as_object()
        .expect("failures");
    assert!(
        failures.values().any(|names| *names == json!([stranger])),
        "{stalled}"
    );
}

#[tokio::test]
async fn nothing_declared_is_nothing_left() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    let template = org.of("job");
    org.catalog["jobTemplates"] = json!([{"name": template, "document": job_document()}]);
    org.catalog["dynamicGroups"] = json!([{"name": org.of("old"), "query": "x:1"}]);
    org.catalog["profiles"] = json!([{"name": org.of("profile"), "groups": [org.of("turin")]}]);
    org.apply(cloud, "").await.expect_done();
    // A group moves while it is empty.
    org.entry("groups", "brera")["parent"] = org.of("turin").into();
    let moved = org.apply(cloud, "").await;
    moved
        .expect_done()
        .expect(&[format!("replace group {}", org.of("brera"))]);
    let brera = describe(cloud, &format!("/thing-groups/{}", org.of("brera")))
        .await
        .expect(200);
    assert_eq!(
        brera["thingGroupMetadata"]["parentGroupName"],
        org.of("turin")
    );

    org.catalog = json!({"name": org.name});
    let gone = org.apply(cloud, "").await;
    gone.expect_done();
    assert_eq!(
        gone.answer["waiting"][0]["name"],
        org.of("type"),
        "{}",
        gone.answer
    );
    age(cloud, &org.of("type")).await;
    org.apply(cloud, "")
        .await
        .expect_done()
        .expect(&[format!("delete thing type {}", org.of("type"))]);
    org.apply(cloud, "").await.expect_done().expect(&[]);
    for path in [
        format!("/thing-types/{}", org.of("type")),
        format!("/policies/{}", org.of("policy")),
        format!("/thing-groups/{}", org.of("milan")),
        format!("/thing-groups/{}", org.of("navigli")),
        format!("/billing-groups/{}", org.of("pays")),
    ] {
        assert_eq!(describe(cloud, &path).await.status, 404, "{path}");
    }
    // What is left of a dynamic group goes with the sweep that takes its members
    // out. Topics stay: a device may have left a message.
    until(async || {
        let left = rows(cloud).await.into_iter();
        let left: Vec<_> = left
            .filter(|row| row.to_string().contains(&org.name))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}
