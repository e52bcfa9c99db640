//! What stands in the account, listed by nothing but AWS's own APIs.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::cloud::{Ask, Cloud, Reply};

/// Everything that a creation can leave behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Names of things.
    pub things: BTreeSet<String>,
    /// Ids of certificates.
    pub certificates: BTreeSet<String>,
    /// Versions and delete markers of key objects.
    pub versions: BTreeSet<String>,
    /// Keys of the registry's rows, but for operations of which nothing remains.
    pub rows: BTreeSet<String>,
}

impl Inventory {
    /// Whether something has come since that is none of the things that came:
    /// each has one certificate.
    pub fn unmatched_since(&self, before: &Self) -> Option<String> {
        let things = self.things.difference(&before.things).count();
        let certificates = self.certificates.difference(&before.certificates).count();
        (certificates != things)
            .then(|| format!("{things} things came, and {certificates} certificates"))
    }

    /// Lists it all.
    pub async fn take(cloud: &Cloud) -> Self {
        Self {
            things: names(
                &pages(cloud, "/things?maxResults=250", "things", "nextToken").await,
                "thingName",
            ),
            certificates: names(
                &pages(
                    cloud,
                    "/certificates?pageSize=250",
                    "certificates",
                    "marker",
                )
                .await,
                "certificateId",
            ),
            versions: versions(cloud, "keys/").await,
            rows: rows(cloud)
                .await
                .iter()
                .filter(|row| row["status"]["S"] != "COMPENSATED")
                .map(|row| format!("{} {}", text(&row["PK"]["S"]), text(&row["SK"]["S"])))
                .collect(),
        }
    }
}

/// Asks AWS IoT, as root.
pub async fn iot(cloud: &Cloud, method: &'static str, path: &str, body: &Value) -> Reply {
    let mut ask = Ask::new(method, path);
    if !body.is_null() {
        ask = ask.text(body.to_string());
    }
    cloud.aws("iot", &ask).await
}

/// Reads one thing of AWS IoT, as root.
pub async fn describe(cloud: &Cloud, path: &str) -> Reply {
    iot(cloud, "GET", path, &Value::Null).await
}

/// All rows of the registry.
pub async fn rows(cloud: &Cloud) -> Vec<Value> {
    let mut all = Vec::new();
    let mut scan = json!({"TableName": cloud.stack("TableName"), "ConsistentRead": true});
    loop {
        let page = cloud
            .aws_json("dynamodb", "DynamoDB_20120810.Scan", &scan)
            .await;
        all.extend(page["Items"].as_array().expect("items").iter().cloned());
        if page["LastEvaluatedKey"].is_null() {
            return all;
        }
        scan["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    }
}

/// One row of the registry; null if it is not there.
pub async fn row(cloud: &Cloud, pk: &str, sk: &str) -> Value {
    let key = json!({
        "TableName": cloud.stack("TableName"), "ConsistentRead": true,
        "Key": {"PK": {"S": pk}, "SK": {"S": sk}},
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.GetItem", &key)
        .await["Item"]
        .clone()
}

/// Versions and delete markers under a prefix of the custody bucket.
pub async fn versions(cloud: &Cloud, prefix: &str) -> BTreeSet<String> {
    let bucket = cloud.stack("CustodyBucket");
    let prefix = prefix.replace('/', "%2F");
    let mut found = BTreeSet::new();
    let mut from = String::new();
    loop {
        let path = format!("/{bucket}?versions&prefix={prefix}{from}");
        let page = cloud.aws("s3", &Ask::new("GET", path)).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let keys = elements(&page.text, "Key");
        let ids = elements(&page.text, "VersionId");
        assert_eq!(keys.len(), ids.len(), "{}", page.text);
        found.extend(keys.iter().zip(ids).map(|(key, id)| format!("{key} {id}")));
        let next = elements(&page.text, "NextKeyMarker").pop();
        match (elements(&page.text, "IsTruncated").first().copied(), next) {
            (Some("true"), Some(next)) => {
                let version = elements(&page.text, "NextVersionIdMarker")
                    .pop()
                    .unwrap_or_default();
                from = format!(
                    "&key-marker={}&version-id-marker={version}",
                    next.replace('/', "%2F")
                );
            }
            _ => return found,
        }
    }
}

/// The texts of an element of an XML answer that nests no such element.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(open.as_str())
        .skip(1)
        .filter_map(|rest| rest.split(close.as_str()).next())
        .collect()
}

/// All items of a paged list.
async fn pages(cloud: &Cloud, path: &str, items: &str, parameter: &str) -> Vec<Value> {
    let answer = if parameter == "marker" {
        "nextMarker"
    } else {
        "nextToken"
    };
    let mut all = Vec::new();
    let mut page_path = path.to_owned();
    loop {
        let page = describe(cloud, &page_path).await.expect(200);
        all.extend(page[items].as_array().expect("items").iter().cloned());
        let Some(token) = page[answer].as_str().filter(|token| !token.is_empty()) else {
            return all;
        };
        let token = token
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        page_path = format!("{path}&{parameter}={token}");
    }
}

fn names(items: &[Value], field: &str) -> BTreeSet<String> {
    items
        .iter()
        .map(|item| text(&item[field]).to_owned())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The principals attached to a thing.
pub async fn principals(cloud: &Cloud, thing: &str) -> Vec<String> {
    let reply = describe(cloud, &format!("/things/{thing}/principals?maxResults=250")).await;
    if reply.status == 404 {
        return Vec::new();
    }
    let list = reply.expect(200);
    list["principals"]
        .as_array()
        .expect("principals")
        .iter()
        .map(|each| text(each).to_owned())
        .collect()
}

/// The registry at one moment: reading it once serves many devices.
#[derive(Debug)]
pub struct Registry(Vec<Value>);

impl Registry {
    /// Reads it all.
    pub async fn read(cloud: &Cloud) -> Self {
        Self(rows(cloud).await)
    }

    fn rows_of<'a>(&'a self, thing: &'a str) -> impl Iterator<Item = &'a Value> {
        let key = format!("DEVICE#{thing}");
        self.0
            .iter()
            .filter(move |row| row["thingName"]["S"] == thing || row["PK"]["S"] == *key)
    }

    /// The rows of a device's own, by name, how many keys are its own, and its
    /// operations.
    fn of(&self, thing: &str, attached: &[String]) -> (Map<String, Value>, usize, Vec<String>) {
        let mut registry = Map::new();
        let mut keys = 0;
        let mut operations = Vec::new();
        for row in self.rows_of(thing) {
            if text(&row["PK"]["S"]).starts_with("OP#") {
                let (kind, status) = (text(&row["kind"]["S"]), text(&row["status"]["S"]));
                operations.push(format!("{kind} {status}"));
                continue;
            }
            if text(&row["PK"]["S"]).starts_with("KEY#") {
                keys += 1;
                continue;
            }
            let sk = text(&row["SK"]["S"]);
            // That the registry and AWS name the same certificate is part of the state.
            let sk = match sk.strip_prefix("CERT#") {
                Some(id) if attached.iter().any(|arn| arn.ends_with(id)) => "CERT#attached",
                Some(_) => "CERT#other",
                None => sk,
            };
            registry.insert(sk.to_owned(), row["status"]["S"].clone());
        }
        operations.sort();
        (registry, keys, operations)
    }
}

/// Everything that stands under one device's name, without what differs from
/// one run to the next: two runs that came to the same end are equal.
pub async fn state_of(cloud: &Cloud, thing: &str) -> Value {
    state_in(cloud, &Registry::read(cloud).await, thing).await
}

/// The same, of a registry that was read before.
pub async fn state_in(cloud: &Cloud, registry: &Registry, thing: &str) -> Value {
    let (described, groups) = (
        format!("/things/{thing}"),
        format!("/things/{thing}/thing-groups"),
    );
    let (prefix, jobs) = (format!("keys/{thing}/"), format!("/things/{thing}/jobs"));
    let (described, groups, attached, versions, jobs) = tokio::join!(
        describe(cloud, &described),
        describe(cloud, &groups),
        principals(cloud, thing),
        versions(cloud, &prefix),
        describe(cloud, &jobs),
    );
    let (described, groups, jobs) = (described.json(), groups.json(), jobs.json());
    let jobs = jobs["executionSummaries"].as_array().map(Vec::len);
    let groups = groups["thingGroups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut certificates = Vec::new();
    for arn in &attached {
        let id = arn.rsplit('/').next().expect("an id");
        let certificate = describe(cloud, &format!("/certificates/{id}")).await.json();
        certificates.push(certificate["certificateDescription"]["status"].clone());
    }
    let (registry, keys, operations) = registry.of(thing, &attached);
    json!({
        "thing": {
            "type": described["thingTypeName"], "attributes": described["attributes"],
            "billingGroup": described["billingGroupName"],
        },
        "groups": groups.iter().map(|group| group["groupName"].clone()).collect::<Vec<_>>(),
        "certificates": certificates,
        "keyVersions": versions.len(),
        "jobs": jobs.unwrap_or_default(),
        "registry": registry,
        "keys": keys,
        "operations": operations,
    })
}

/// A case that came to its end: which one, and of which device.
#[derive(Debug)]
pub struct Ended {
    /// What is said of it should its end be another.
    pub case: String,
    /// The device.
    pub thing: String,
}

/// What is wrong with the ends of cases: none differs from the undisturbed one.
/// They are looked at together, so that the registry is read once.
pub async fn differing(
    cloud: &Cloud,
    ended: impl IntoIterator<Item = Ended>,
    undisturbed: &Value,
) -> Vec<String> {
    let registry = &Registry::read(cloud).await;
    let compared = ended.into_iter().map(async |Ended { case, thing }| {
        let state = state_in(cloud, registry, &thing).await;
        (state != *undisturbed)
            .then(|| format!("{case}: the end is {state}, undisturbed it is {undisturbed}"))
    });
    futures_util::stream::iter(compared)
        .buffer_unordered(8)
        .filter_map(std::future::ready)
        .collect()
        .await
}
