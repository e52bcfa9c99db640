//! What a policy allows and hardly should: warnings that explain.
//!
//! A group's policies hold for every device below it. What keeps one device
//! from acting as another is the thing's name in the resource, by a variable
//! that has a value only while the client id is the name of an attached thing
//! ("Thing policy variables", AWS IoT Core Developer Guide).

use serde::Serialize;
use serde_json::Value;

use super::document::{one_or_more, texts_in};

/// Something that is accepted and hardly meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The path to it.
    pub field: String,
    /// What is the matter, and what would be better.
    pub text: String,
}

/// The variables of the thing that is connected.
const OF_THE_THING: &str = "${iot:Connection.Thing.";
/// A client chooses its own id, so by itself it binds nobody.
const CLIENT_ID: &str = "${iot:ClientId}";

/// Actions on what belongs to one device, and the kind of resource of each.
const OF_ONE_DEVICE: [(&str, &str); 5] = [
    ("iot:Connect", "client"),
    ("iot:Publish", "topic"),
    ("iot:Receive", "topic"),
    ("iot:RetainPublish", "topic"),
    ("iot:Subscribe", "topicfilter"),
];

/// Warns of what a checked document allows. `path` leads to the document.
pub(super) fn advise(path: &str, document: &Value) -> Vec<Warning> {
    one_or_more(&document["Statement"])
        .into_iter()
        .enumerate()
        .filter(|(_, statement)| statement["Effect"] == "Allow")
        .flat_map(|(i, statement)| of_statement(&format!("{path}.Statement[{i}]"), statement))
        .collect()
}

fn of_statement(path: &str, statement: &Value) -> Vec<Warning> {
    let (actions, resources) = (
        texts_in(&statement["Action"]),
        texts_in(&statement["Resource"]),
    );
    let field = format!("{path}.Resource");
    let mut warnings = Vec::new();
    for resource in &resources {
        let kind = kind_of(resource);
        let fits = |(action, wanted): &&(&str, &str)| actions.contains(action) && *wanted == kind;
        let fitting: Vec<_> = OF_ONE_DEVICE.iter().filter(fits).collect();
        let warn = |text: String| Warning {
            field: field.clone(),
            text,
        };
        if resource.contains(CLIENT_ID) && !resource.contains(OF_THE_THING) {
            warnings.push(warn(format!(
                "{resource} is bound to the client id, which a device chooses itself; \
                 ${{iot:Connection.Thing.ThingName}} is bound to its certificate"
            )));
        } else if let Some((action, _)) = fitting.first()
            && !resource.contains(OF_THE_THING)
        {
            warnings.push(warn(format!(
                "{action} on {resource} is the same for every device under the policy; \
                 with ${{iot:Connection.Thing.ThingName}} in it each has its own"
            )));
        }
    }
    for (action, kind) in OF_ONE_DEVICE {
        let meant = actions.contains(&action);
        if meant && !resources.iter().any(|resource| kind_of(resource) == kind) {
            warnings.push(Warning {
                field: format!("{path}.Action"),
                text: format!(
                    "{action} holds for {kind}/… resources, of which the statement has none"
                ),
            });
        }
    }
    warnings
}

/// `client`, `topic` and so on: the resource's kind, after the fifth colon.
fn kind_of(resource: &str) -> &str {
    let rest = resource.splitn(6, ':').nth(5).unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(action: &Value, resource: &Value, about: &[&str]) {
        let document =
            json!({"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]});
        let warnings = advise("p", &document);
        let fits = warnings.len() == about.len()
            && warnings
                .iter()
                .zip(about)
                .all(|(w, about)| w.text.contains(about));
        assert!(fits, "{action} {resource}: {warnings:?}");
        let deny = json!({"Statement": {"Effect": "Deny", "Action": action, "Resource": resource}});
        assert_eq!(advise("p", &deny), []);
    }

    #[test]
    fn what_is_hardly_meant() {
        let arn = |rest: &str| json!(format!("arn:aws:iot:eu-south-1:1:{rest}"));
        let own = "${iot:Connection.Thing.ThingName}";
        check(&json!("iot:Connect"), &arn(&format!("client/{own}")), &[]);
        check(
            &json!("iot:Connect"),
            &arn("client/*"),
            &["the same for every device"],
        );
        check(
            &json!("iot:Connect"),
            &arn("client/${iot:ClientId}"),
            &["chooses itself"],
        );
        check(
            &json!("iot:Publish"),
            &arn(&format!("topic/lights/{own}/*")),
            &[],
        );
        check(
            &json!("iot:Publish"),
            &arn("topic/lights/all"),
            &["the same for every device"],
        );
        check(
            &json!(["iot:Publish", "iot:Subscribe"]),
            &arn(&format!("topic/{own}")),
            &["iot:Subscribe holds for topicfilter"],
        );
        check(
            &json!("iot:GetThingShadow"),
            &arn(&format!("thing/{own}")),
            &[],
        );
    }
}
