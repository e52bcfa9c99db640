//! A small organisation of a test's own: catalogs, and what AWS holds of them.

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};
use crate::device::unique;
use crate::inventory::{describe, iot};

/// A catalog of names that nothing else in the cloud has.
#[derive(Debug)]
pub struct Organisation {
    /// What every name in it begins with.
    pub name: String,
    /// The catalog.
    pub catalog: Value,
}

/// What a device may do, bound to its name.
pub fn document() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "iot:Connect",
        "Resource": "arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}",
    }]})
}

/// A job's document: one step.
pub fn job_document() -> Value {
    json!({"version": "1.0", "steps": [{"action": {
        "name": "Only", "type": "runHandler", "input": {"handler": "only.sh"},
    }}]})
}

impl Organisation {
    /// Two cities, one with two districts; a type; two billing groups.
    pub fn new() -> Self {
        let name = unique("org");
        let of = |rest: &str| format!("{name}-{rest}");
        let catalog = json!({
            "name": name,
            "thingTypes": [{"name": of("type"), "description": "A light", "searchableAttributes": ["city"]}],
            "policies": [{"name": of("policy"), "document": document()}],
            "groups": [
                {"name": of("milan"), "policies": [of("policy")], "attributes": {"city": "milan"}},
                {"name": of("navigli"), "parent": of("milan")},
                {"name": of("brera"), "parent": of("milan")},
                {"name": of("turin"), "policies": [of("policy")]},
                {"name": of("idle")},
            ],
            "billingGroups": [
                {"name": of("pays"), "description": "Pays", "tags": {"city": "milan"}},
                {"name": of("other")},
            ],
        });
        Self { name, catalog }
    }

    /// A name in it.
    pub fn of(&self, rest: &str) -> String {
        format!("{}-{rest}", self.name)
    }

    /// The same, applied.
    pub async fn applied(cloud: &Cloud) -> Self {
        let organisation = Self::new();
        organisation.apply(cloud, "").await.expect_done();
        organisation
    }

    /// Sends the catalog once, with a query string.
    pub async fn apply(&self, cloud: &Cloud, query: &str) -> Applied {
        let ask = Ask::new("PUT", format!("/catalog{query}")).text(self.catalog.to_string());
        let reply = cloud.api(&ask).await;
        Applied {
            status: reply.status,
            answer: reply.json(),
        }
    }

    /// The request that creates a light in it.
    pub fn light(&self, thing: &str) -> Value {
        json!({
            "thingName": thing, "thingType": self.of("type"), "groups": [self.of("navigli")],
            "billingGroup": self.of("pays"), "attributes": {"city": "milan", "wattage": "60"},
        })
    }

    /// An entry of a section.
    pub fn entry(&mut self, section: &str, rest: &str) -> &mut Value {
        let name = self.of(rest);
        let entries = self.catalog[section].as_array_mut().expect("a section");
        let found = entries.iter_mut().find(|entry| entry["name"] == *name);
        found.expect("an entry")
    }

    /// Takes an entry out of a section.
    pub fn remove(&mut self, section: &str, rest: &str) {
        let name = self.of(rest);
        let entries = self.catalog[section].as_array_mut().expect("a section");
        entries.retain(|entry| entry["name"] != *name);
    }
}

impl Default for Organisation {
    fn default() -> Self {
        Self::new()
    }
}

/// What applying a catalog was answered with.
#[derive(Debug)]
pub struct Applied {
    /// The HTTP status.
    pub status: u16,
    /// The answer.
    pub answer: Value,
}

impl Applied {
    /// The changes, each as `action kind name`.
    pub fn changes(&self) -> Vec<String> {
        let changes = self.answer["changes"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        changes
            .map(|c| {
                format!(
                    "{} {} {}",
                    text(&c["action"]),
                    text(&c["kind"]),
                    text(&c["name"])
                )
            })
            .collect()
    }

    /// That all of it is done.
    #[track_caller]
    pub fn expect_done(&self) -> &Self {
        assert_eq!(
            (self.status, &self.answer["status"]),
            (200, &json!("DONE")),
            "{}",
            self.answer
        );
        self
    }

    /// That it changed just this.
    #[track_caller]
    pub fn expect(&self, changes: &[String]) -> &Self {
        assert_eq!(self.changes(), changes, "{}", self.answer);
        self
    }
}

/// The groups that a thing is in, in AWS.
pub async fn groups_of(cloud: &Cloud, thing: &str) -> Vec<String> {
    let path = format!("/things/{thing}/thing-groups?maxResults=250");
    let listed = describe(cloud, &path).await.expect(200);
    let groups = listed["thingGroups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let name = |group: &Value| group["groupName"].as_str().unwrap_or_default().to_owned();
    groups.iter().map(name).collect()
}

/// Puts a thing into a group by hand.
pub async fn put_into(cloud: &Cloud, thing: &str, group: &str) {
    let body = json!({"thingName": thing, "thingGroupName": group});
    iot(cloud, "PUT", "/thing-groups/addThingToThingGroup", &body)
        .await
        .expect(200);
}

/// Makes a group by hand.
pub async fn make_group(cloud: &Cloud, group: &str, parent: Option<&str>) {
    let body = json!({"parentGroupName": parent});
    let body = if parent.is_some() { body } else { json!({}) };
    iot(cloud, "POST", &format!("/thing-groups/{group}"), &body)
        .await
        .expect(200);
}
