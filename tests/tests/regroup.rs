//! Definitions change while devices do: every device is asked again, nobody is
//! shown a group that is half swept as complete, and what was said before to
//! follow is what follows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::groups::{all, until, until_in};
use lamplighter_tests::inventory::row;
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::organisation::Organisation;
use serde_json::{Value, json};

/// So many lights keep their level, and so many change it all the time.
const STEADY: usize = 6;
const RESTLESS: usize = 3;

struct Fleet<'a> {
    cloud: &'a Cloud,
    org: Organisation,
    lights: Vec<String>,
}

impl<'a> Fleet<'a> {
    /// Lights that report their place in the fleet, tens, as their level.
    async fn new(cloud: &'a Cloud) -> Self {
        let org = Organisation::applied(cloud).await;
        let lights: Vec<_> = (0..STEADY + RESTLESS)
            .map(|_| unique("regrouped"))
            .collect();
        stream::iter(lights.iter().enumerate())
            .for_each_concurrent(3, async |(at, light)| {
                let mut body = org.light(light);
                body["csr"] = Key::make(light).csr.into();
                created(cloud, &body).await;
                report(cloud, light, at * 10).await;
            })
            .await;
        Self { cloud, org, lights }
    }

    fn query(&self, rest: &str) -> String {
        format!("thingTypeName:{} AND {rest}", self.org.of("type"))
    }

    async fn put(&self, rest: &str, query: &str) -> Value {
        let body = json!({"query": self.query(query), "semver": true});
        let path = format!("/groups/{}", self.org.of(rest));
        let ask = Ask::new("PUT", path).text(body.to_string());
        self.cloud.api(&ask).await.expect(202)
    }

    async fn group(&self, rest: &str) -> Value {
        let path = format!("/groups/{}", self.org.of(rest));
        self.cloud.api(&Ask::new("GET", path)).await.json()
    }

    async fn members(&self, rest: &str) -> BTreeSet<String> {
        let path = format!("/groups/{}/members", self.org.of(rest));
        let members = all(self.cloud, &path, "thingName", 100).await;
        members.into_iter().collect()
    }

    /// Waits until every device was asked by the newest definitions.
    async fn active(&self, rest: &str) -> Value {
        until(async || {
            let group = self.group(rest).await;
            if group["status"] == "ACTIVE" {
                Ok(group)
            } else {
                Err(group.to_string())
            }
        })
        .await
    }

    /// The lights with these places.
    fn at(&self, places: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
        let lights = places.into_iter().map(|at| self.lights[at].clone());
        lights.collect()
    }
}

async fn report(cloud: &Cloud, light: &str, level: usize) {
    let state = json!({"state": {"reported": {"level": level}}});
    let ask = Ask::new("POST", format!("/things/{light}/shadow")).text(state.to_string());
    cloud.aws("iotdata", &ask).await.expect(200);
}

fn run(arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = lamp()
        .arg("group")
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .expect("lamp runs");
    (output.status.code().expect("a code"), documents(&output))
}

fn names(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().into_iter().flatten();
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn a_change_of_definitions_asks_every_device_while_these_change_too() {
    let cloud = &Cloud::open();
    let fleet = &Fleet::new(cloud).await;
    let dim = fleet.org.of("dim");

    // Said before, and so it comes. The shadows have to have arrived.
    let query = fleet.query("shadow.reported.level<40");
    let put = ["put", "--name", &dim, "--beyond-aws", "--query", &query];
    let said = until(async || {
        let (exit, said) = run(&[&put[..], &["--dry-run"]].concat());
        assert_eq!(exit, 0, "{said:?}");
        if said[0]["entering"]["count"] == 4 {
            Ok(said[0].clone())
        } else {
            Err(format!("{said:?}"))
        }
    })
    .await;
    assert_eq!(names(&said["entering"]["first"]), fleet.at(0..4), "{said}");
    assert_eq!(said["leaving"]["count"], 0, "{said}");
    assert_eq!(fleet.group("dim").await["status"], 404, "nothing was put");
    let (exit, group) = run(&[&put[..], &["--wait"]].concat());
    assert_eq!(
        (exit, &group[0]["status"]),
        (0, &json!("ACTIVE")),
        "{group:?}"
    );
    assert_eq!(group[0]["members"], 4, "{group:?}");
    assert_eq!(fleet.members("dim").await, fleet.at(0..4));
    fleet
        .put("nested", &format!("dynamicGroupNames:{dim}"))
        .await;
    fleet.active("nested").await;

    changed_meanwhile(fleet, &dim).await;
    for (at, light) in fleet.lights.iter().enumerate() {
        report(cloud, light, at * 10).await;
    }
    let all_of_it = fleet.at(3..STEADY + RESTLESS);
    until(async || {
        let found = fleet.members("dim").await;
        if found == all_of_it {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    told(fleet, &dim, &all_of_it).await;
    explained(fleet, &dim);
    removed(fleet, &dim).await;
}

/// The definition changes three times, while some of the lights change all the
/// time and a reader looks.
async fn changed_meanwhile(fleet: &Fleet<'_>, dim: &str) {
    let cloud = fleet.cloud;
    let ended = AtomicBool::new(false);
    let steady = fleet.at(0..STEADY);
    let newest = async {
        let said = dry_run(fleet, "shadow.reported.level>=30").await;
        let second = fleet.put("dim", "shadow.reported.level>=30").await;
        assert_eq!(second["status"], "BUILDING", "{second}");
        // What hangs on it is not complete either.
        assert_eq!(fleet.group("nested").await["status"], "BUILDING");
        let path = format!("/groups/{dim}/members?limit=1");
        let page = cloud.api(&Ask::new("GET", path)).await.expect(200);
        assert_eq!(page["status"], "BUILDING", "{page}");
        fleet.put("dim", "shadow.reported.level<20").await;
        let third = fleet.put("dim", "shadow.reported.level>=30").await;
        let group = fleet.active("dim").await;
        assert_eq!(group["revision"], 4, "the newest wins: {third} {group}");
        // Of the lights that kept their level, those moved that were said to.
        let entered: BTreeSet<_> = fleet.members("dim").await;
        let entered = &(&entered & &steady) - &fleet.at(0..4);
        assert_eq!(
            &names(&said["entering"]["first"]) & &steady,
            entered,
            "{said}"
        );
        fleet.active("nested").await;
        ended.store(true, Ordering::Relaxed);
    };
    let restless = async {
        let mut level = 0;
        while !ended.load(Ordering::Relaxed) {
            for light in &fleet.lights[STEADY..] {
                report(cloud, light, level % 100).await;
                level += 35;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let reader = async {
        let (mut looks, mut complete) = (0, 0);
        while !ended.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let path = format!("/groups/{dim}/members?limit=100");
            let page = cloud.api(&Ask::new("GET", path)).await.expect(200);
            let found = page["items"].as_array().expect("items");
            let found: BTreeSet<_> = found
                .iter()
                .map(|item| item["thingName"].as_str().expect("a name").to_owned())
                .collect();
            looks += 1;
            if page["status"] == "ACTIVE" {
                complete += 1;
                let found = &found & &steady;
                let of_a_definition = [fleet.at(0..4), fleet.at(3..STEADY)];
                assert!(of_a_definition.contains(&found), "half swept: {page}");
            }
        }
        assert!(
            0 < complete && complete < looks,
            "{complete} of {looks} looks"
        );
    };
    futures_util::join!(newest, restless, reader);
}

async fn dry_run(fleet: &Fleet<'_>, query: &str) -> Value {
    let body = json!({"query": fleet.query(query), "semver": true});
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/groups/{}?dryRun=true{cursor}", fleet.org.of("dim"));
        let ask = Ask::new("PUT", path).text(body.to_string());
        let page = fleet.cloud.api(&ask).await.expect(200);
        found.extend(names(&page["entering"]["first"]));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return json!({"entering": {"first": found}}),
        }
    }
}

/// Whoever followed the group knows who is in it.
async fn told(fleet: &Fleet<'_>, dim: &str, members: &BTreeSet<String>) {
    until(async || {
        let (exit, events) = run(&["watch", dim, "--since", "10", "--for", "0"]);
        assert_eq!(exit, 0);
        let mut known = BTreeSet::new();
        for event in &events {
            let thing = event["detail"]["thingName"].as_str().expect("a thing");
            assert_eq!(event["source"], "lamplighter", "{event}");
            match event["detail-type"].as_str() {
                Some("GroupEntered") => assert!(known.insert(thing.to_owned()), "{events:?}"),
                _ => assert!(known.remove(thing), "{event}: {events:?}"),
            }
        }
        if known == *members {
            Ok(())
        } else {
            Err(format!("{known:?} of {} events", events.len()))
        }
    })
    .await;
    let (exit, listed) = run(&["members", dim]);
    let things: BTreeSet<_> = listed
        .iter()
        .map(|member| member["thingName"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!((exit, &things), (0, members));
    let (exit, groups) = run(&["list"]);
    let it = groups.iter().find(|group| group["name"] == dim);
    assert_eq!(
        (exit, &it.expect("it is listed")["revision"]),
        (0, &json!(4))
    );
    let path = format!("/devices/{}/groups", fleet.lights[4]);
    let of_device = all(fleet.cloud, &path, "group", 10).await;
    assert_eq!(of_device, [dim.to_owned(), fleet.org.of("nested")]);
}

/// A query is explained by what the registry knows of a device.
fn explained(fleet: &Fleet<'_>, dim: &str) {
    let query = format!("shadow.reported.level>=30 AND dynamicGroupNames:{dim}");
    for (at, result) in [(4, true), (1, false)] {
        let test = ["test", "--beyond-aws", "--query", &query, "--device"];
        let (exit, said) = run(&[&test[..], &[&fleet.lights[at]]].concat());
        assert_eq!((exit, &said[0]["result"]), (0, &json!(result)), "{said:?}");
    }
}

/// A removed group's members leave, and nothing is left of it.
async fn removed(fleet: &Fleet<'_>, dim: &str) {
    let cloud = fleet.cloud;
    let (exit, removed) = run(&["delete", dim]);
    assert_eq!(
        (exit, &removed[0]["status"]),
        (0, &json!("REMOVED")),
        "{removed:?}"
    );
    let (exit, absent) = run(&["delete", dim]);
    assert_eq!(
        (exit, &absent[0]["status"]),
        (0, &json!("ABSENT")),
        "{absent:?}"
    );
    let (exit, _) = run(&["show", dim]);
    assert_eq!(exit, 3);
    for light in &fleet.lights {
        until_in(cloud, light, &fleet.org.name, &[]).await;
    }
    let group = fleet.active("nested").await;
    assert_eq!(group["members"], 0, "{group}");
    assert_eq!(
        row(cloud, "DEFINITIONS", &format!("REMOVED#{dim}")).await,
        Value::Null
    );
    for shard in 0..16 {
        let partition = format!("GROUP#{dim}#{shard:02}");
        assert_eq!(row(cloud, &partition, "COUNT").await, Value::Null);
        for light in &fleet.lights {
            let member = row(cloud, &partition, &format!("MEMBER#{light}")).await;
            assert_eq!(member, Value::Null);
        }
    }
    lost_start(fleet).await;
}

/// A sweep that nobody started is found by the schedule.
async fn lost_start(fleet: &Fleet<'_>) {
    let cloud = fleet.cloud;
    let table = cloud.stack("TableName");
    for shard in 0..16 {
        let key = json!({"PK": {"S": "DEFINITIONS"}, "SK": {"S": format!("SWEEP#{shard:02}")}});
        let gone = json!({"TableName": table, "Key": key});
        let target = "DynamoDB_20120810.DeleteItem";
        cloud.aws_json("dynamodb", target, &gone).await;
    }
    let back = json!({
        "TableName": table, "Key": {"PK": {"S": "DEFINITIONS"}, "SK": {"S": "VERSION"}},
        "UpdateExpression": "SET swept = :none", "ExpressionAttributeValues": {":none": {"N": "0"}},
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &back)
        .await;
    assert_eq!(fleet.group("nested").await["status"], "BUILDING");
    let schedules = Ask::new("GET", "/_lamplighter/schedules");
    let schedules = cloud.aws("lambda", &schedules).await.expect(200);
    let is_it = |each: &&Value| {
        let targets = each["targets"].as_array().into_iter().flatten();
        let mut targets = targets.filter_map(Value::as_str);
        targets.any(|target| target == cloud.stack("SweepGroupsWorkflowArn"))
    };
    let schedule = schedules.as_array().into_iter().flatten().find(is_it);
    let fire = json!({"arn": schedule.expect("a schedule")["arn"]});
    let fire = Ask::new("POST", "/_lamplighter/schedules").text(fire.to_string());
    cloud.aws("lambda", &fire).await.expect(200);
    fleet.active("nested").await;
}

#[tokio::test]
async fn what_cannot_be_put_is_refused_with_the_remedy() {
    let cloud = &Cloud::open();
    let mut org = Organisation::new();
    org.catalog["dynamicGroups"] =
        json!([{"name": org.of("of-catalog"), "query": "attributes.city:rome"}]);
    org.apply(cloud, "").await.expect_done();
    let query = json!({"query": "attributes.city:rome"});
    let with = |field: &str, value: Value| {
        let mut body = query.clone();
        body[field] = value;
        body
    };
    let own = json!({"query": format!("dynamicGroupNames:{}", org.of("own")), "semver": true});
    for (name, body, status, field) in [
        ("of-catalog", &query, 409, "groupName"),
        ("own", &json!({"query": "AND"}), 400, "query"),
        ("own", &own, 400, "query"),
        ("own", &with("parent", org.of("none").into()), 400, "parent"),
        (
            "own",
            &with("onEnter", json!({"job": org.of("none")})),
            400,
            "onEnter.job",
        ),
        ("own", &with("materialise", "static".into()), 400, "body"),
        ("milan", &query, 400, "name"),
    ] {
        for dry_run in ["", "?dryRun=true"] {
            let path = format!("/groups/{}{dry_run}", org.of(name));
            let ask = Ask::new("PUT", path).text(body.to_string());
            let refused = cloud.api(&ask).await.expect(status);
            assert_eq!(refused["field"], field, "{refused}");
        }
    }
    let owned = Ask::new("DELETE", format!("/groups/{}", org.of("of-catalog")));
    let refused = cloud.api(&owned).await.expect(409);
    assert_eq!(
        refused["remedy"], "Change the catalog, and apply it.",
        "{refused}"
    );

    let put = |name: &str, body: &Value| {
        Ask::new("PUT", format!("/groups/{}", org.of(name))).text(body.to_string())
    };
    let remove = |name: &str| Ask::new("DELETE", format!("/groups/{}", org.of(name)));
    cloud.api(&put("own", &query)).await.expect(202);
    cloud
        .api(&put("below", &with("parent", org.of("own").into())))
        .await
        .expect(202);
    let refused = cloud.api(&remove("own")).await.expect(409);
    assert!(
        refused["reason"]
            .as_str()
            .expect("a reason")
            .contains(&org.of("below"))
    );
    cloud.api(&remove("below")).await.expect(200);
    cloud.api(&remove("own")).await.expect(200);
}
