//! What an operator orders: a template with its parameters, for whom, and how.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::spec::Spec;
use super::target::Finder;
use super::wave::Cursor;
use crate::csr::sha256_hex;
use crate::failure::Failure;
use crate::fields::unique_json;
use crate::job::read::{Object, text, wrong};
use crate::names::{GroupName, JobTemplateName, ThingName};
use crate::request::one_key;

/// How many things a request may name one by one; Lambda takes 6 MB.
pub const MOST_THINGS: usize = 10_000;
const REMEDY: &str = "Send {\"template\", \"parameters\", \"targets\", \"rollout\"}.";

/// The body of `POST /jobs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is ordered.
    pub order: Order,
    /// The things, where they are named one by one.
    pub things: BTreeSet<ThingName>,
    /// How it is rolled out.
    pub spec: Spec,
    /// Whether only to tell who would get it.
    pub dry_run: bool,
    /// After which page of them, if not from the first.
    pub cursor: Option<Cursor>,
    /// What makes the same request the same job.
    pub key: Option<String>,
}

/// `ROLLOUT#id / ORDER`: what does not change while it is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The template's name.
    pub template: JobTemplateName,
    /// Its parameters.
    pub parameters: BTreeMap<String, Value>,
    /// Who is to get it.
    pub targets: Targets,
    /// The SHA-256 of all that was asked for.
    pub asked: String,
    /// Who asked.
    #[serde(default)]
    pub by: String,
    /// What devices are sent; empty until it was made.
    #[serde(default)]
    pub document: String,
}

/// Who is to get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Targets {
    /// So many things, named one by one.
    Things {
        /// How many.
        count: usize,
    },
    /// A static group's members, and those of the groups below it.
    Group {
        /// The group.
        name: GroupName,
    },
    /// A dynamic group's members.
    DynamicGroup {
        /// The group.
        name: GroupName,
    },
    /// What a query finds.
    Query {
        /// The query.
        text: String,
        /// Whether it may compare versions, which AWS's own cannot.
        semver: bool,
    },
}

/// How a job is rolled out of which nothing is said.
pub fn usual_rollout() -> Value {
    json!({"waves": [1, "10%", "100%"]})
}

impl Request {
    /// Reads a request. `key` is that of its header.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub fn parse(body: &[u8], key: Option<&str>) -> Result<Self, Failure> {
        let value = unique_json(body).map_err(|error| {
            Failure::invalid(
                "body",
                format!("the request does not parse: {error}"),
                REMEDY,
            )
        })?;
        // The key and the dry run aside, what is asked for.
        let mut asked = value.clone();
        if let Some(fields) = asked.as_object_mut() {
            fields.remove("idempotencyKey");
            fields.remove("dryRun");
            fields.remove("cursor");
        }
        let mut object = Object::new("", value)?;
        let template = JobTemplateName::parse(&object.required_text("template")?)
            .map_err(|failure| failure.field("template"))?;
        let parameters = match object.take("parameters") {
            None => BTreeMap::new(),
            Some(Value::Object(given)) => given.into_iter().collect(),
            Some(other) => return Err(wrong("parameters", &other, "an object")),
        };
        let (targets, things) = targets(object.required("targets")?)?;
        let rollout = object.take("rollout").unwrap_or_else(usual_rollout);
        let spec = Spec::read("rollout", rollout)?;
        let is_group = matches!(
            targets,
            Targets::Group { .. } | Targets::DynamicGroup { .. }
        );
        if spec.late_joiners.is_some() && !is_group {
            return Err(Failure::invalid(
                "rollout.lateJoinersPerMinute",
                "only a group tells who joins it later",
                "Target a group, or leave it out.",
            ));
        }
        let dry_run = flag(&mut object, "dryRun")?;
        let cursor = object.text("cursor")?.map(Cursor);
        if cursor.is_some() && !dry_run {
            return Err(Failure::invalid(
                "cursor",
                "only a dry run is told page by page",
                "Leave it out, or send dryRun.",
            ));
        }
        let sent = object.text("idempotencyKey")?;
        object.end()?;
        Ok(Self {
            order: Order {
                template,
                parameters,
                targets,
                asked: sha256_hex(asked.to_string().as_bytes()),
                by: String::new(),
                document: String::new(),
            },
            things,
            spec,
            dry_run,
            cursor,
            key: one_key(sent.as_deref(), key)?,
        })
    }
}

impl Order {
    /// Refuses another order under the same key.
    ///
    /// # Errors
    /// `Conflict` for `idempotencyKey`.
    pub fn same_as(&self, other: &Self) -> Result<(), Failure> {
        if self.asked == other.asked {
            return Ok(());
        }
        Err(Failure::conflict(
            "idempotencyKey",
            "another job was asked for under this key",
            "Send another key.",
        ))
    }
}

fn flag(object: &mut Object, name: &str) -> Result<bool, Failure> {
    match object.take(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(wrong(name, &other, "true or false")),
    }
}

fn targets(value: Value) -> Result<(Targets, BTreeSet<ThingName>), Failure> {
    let mut object = Object::new("targets", value)?;
    let things = object.list("things")?;
    let group = object.text("group")?;
    let dynamic = object.text("dynamicGroup")?;
    let query = object.text("query")?;
    let semver = flag(&mut object, "semver")?;
    object.end()?;
    let one = |name: &str| GroupName::parse(name);
    match (things, group, dynamic, query) {
        (Some(things), None, None, None) => {
            let things = named(things)?;
            let count = things.len();
            Ok((Targets::Things { count }, things))
        }
        (None, Some(name), None, None) => {
            let name = one(&name).map_err(|failure| failure.field("targets.group"))?;
            Ok((Targets::Group { name }, BTreeSet::new()))
        }
        (None, None, Some(name), None) => {
            let name = one(&name).map_err(|failure| failure.field("targets.dynamicGroup"))?;
            Ok((Targets::DynamicGroup { name }, BTreeSet::new()))
        }
        (None, None, None, Some(text)) => {
            Finder::of_query("targets.query", &text, semver)?;
            Ok((Targets::Query { text, semver }, BTreeSet::new()))
        }
        _ => Err(Failure::invalid(
            "targets",
            "it has to name one kind of targets",
            "Give one of things, group, dynamicGroup and query.",
        )),
    }
}

fn named(things: Vec<Value>) -> Result<BTreeSet<ThingName>, Failure> {
    if things.is_empty() || things.len() > MOST_THINGS {
        return Err(Failure::invalid(
            "targets.things",
            format!("{} things are named", things.len()),
            format!("Name 1 to {MOST_THINGS}, or target a group or a query."),
        ));
    }
    let read = |(i, value)| {
        let path = format!("targets.things[{i}]");
        ThingName::parse(&text(&path, value)?).map_err(|failure| failure.field(&path))
    };
    things.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str, value: Value) -> Value {
        let mut body = json!({"template": "firmware", "targets": {"group": "milan"}});
        body[name] = value;
        body
    }

    #[test]
    fn one_kind_of_targets_is_named() {
        let check = |targets: Value, refused: Option<&str>| {
            let body = body("targets", targets).to_string();
            let read = Request::parse(body.as_bytes(), None);
            let field = read.as_ref().err().and_then(|f| f.field.clone());
            assert_eq!(field.as_deref(), refused, "{body}: {read:?}");
        };
        check(json!({"group": "milan"}), None);
        check(json!({"dynamicGroup": "outdated"}), None);
        check(json!({"things": ["a", "b", "a"]}), None);
        check(json!({"query": "attributes.city:milan"}), None);
        check(
            json!({"query": "shadow.reported.v<semver\"2.0.0\"", "semver": true}),
            None,
        );
        check(
            json!({"query": "shadow.reported.v<semver\"2.0.0\""}),
            Some("targets.query"),
        );
        check(
            json!({"query": "connectivity.connected:true"}),
            Some("targets.query"),
        );
        check(json!({}), Some("targets"));
        check(json!({"group": "milan", "query": "a:b"}), Some("targets"));
        check(json!({"groups": ["milan"]}), Some("targets"));
        check(json!({"group": "mil an"}), Some("targets.group"));
        check(json!({"things": []}), Some("targets.things"));
        check(json!({"things": ["a", "b c"]}), Some("targets.things[1]"));
        check(json!({"things": ["a", 7]}), Some("targets.things[1]"));
        let many = vec!["a"; MOST_THINGS + 1];
        check(json!({"things": many}), Some("targets.things"));
    }

    #[test]
    fn a_request_is_refused_with_the_field() {
        for (name, value, refused) in [
            ("template", json!("no name"), Some("template")),
            ("template", Value::Null, Some("template")),
            ("parameters", json!([]), Some("parameters")),
            ("rollout", json!({"waves": []}), Some("rollout.waves")),
            ("dryRun", json!("yes"), Some("dryRun")),
            ("idempotencyKey", json!("a b"), Some("idempotencyKey")),
            ("colour", json!("red"), Some("body")),
            ("rollout", Value::Null, None),
            ("cursor", json!("0:light-1"), Some("cursor")),
            ("cursor", Value::Null, None),
        ] {
            let body = body(name, value).to_string();
            let read = Request::parse(body.as_bytes(), None);
            let field = read.as_ref().err().and_then(|f| f.field.clone());
            assert_eq!(field.as_deref(), refused, "{body}: {read:?}");
        }
        let late = json!({"waves": [1], "lateJoinersPerMinute": 2});
        let mut body = body("rollout", late);
        for (targets, refused) in [
            (json!({"group": "milan"}), None),
            (json!({"dynamicGroup": "outdated"}), None),
            (
                json!({"things": ["a"]}),
                Some("rollout.lateJoinersPerMinute"),
            ),
            (
                json!({"query": "a:b"}),
                Some("rollout.lateJoinersPerMinute"),
            ),
        ] {
            body["targets"] = targets;
            let read = Request::parse(body.to_string().as_bytes(), None);
            let field = read.err().and_then(|f| f.field);
            assert_eq!(field.as_deref(), refused, "{body}");
        }
    }

    #[test]
    fn the_same_key_is_the_same_order() {
        let order = |body: Value| {
            Request::parse(body.to_string().as_bytes(), Some("k"))
                .unwrap()
                .order
        };
        let first = order(body("parameters", json!({"version": "2.4.0"})));
        let again = body("parameters", json!({"version": "2.4.0"}));
        assert!(first.same_as(&order(again)).is_ok());
        let other = order(body("parameters", json!({"version": "2.4.1"})));
        let failure = first.same_as(&other).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("idempotencyKey"));
        let mut page = body("dryRun", json!(true));
        page["cursor"] = json!("0:light-1");
        let read = Request::parse(page.to_string().as_bytes(), None).unwrap();
        assert_eq!(read.cursor, Some(Cursor("0:light-1".to_owned())));
        assert_eq!(read.order.asked, order(body("dryRun", json!(false))).asked);
        let stored = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&stored).unwrap(), first);
    }
}
