//! What a policy allows and hardly should: warnings that explain.
//!
//! A group's policies hold for every device below it. What keeps one device
//! from acting as another is the thing's name in the resource, by a variable
//! that has a value only while the client id is the name of an attached thing
//! ("Thing policy variables", AWS IoT Core Developer Guide). An action that is none
//! of a device's, and a variable that AWS does not know, are accepted there without
//! a word ("AWS IoT Core policy actions" and "AWS IoT Core policy variables").

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

/// A client chooses its own id, so by itself it binds nobody.
const CLIENT_ID: &str = "iot:ClientId";
/// Variables that have one value for each device: those of the thing that is
/// connected, and those of the certificate. What ends in a bracket or a dot goes
/// on as it likes.
const OF_THE_DEVICE: [&str; 4] = [
    "iot:Connection.Thing.ThingName",
    "iot:Connection.Thing.ThingTypeName",
    "iot:Connection.Thing.Attributes[",
    "iot:Certificate.",
];
/// Other variables, and the characters that are written like variables.
const OF_NO_DEVICE: [&str; 7] = [
    CLIENT_ID,
    "iot:Connection.Thing.IsAttached",
    "iot:DomainName",
    "aws:SourceIp",
    "*",
    "?",
    "$",
];

/// Actions on what belongs to one device, and the kind of resource of each.
const OF_ONE_DEVICE: [(&str, &str); 14] = [
    ("iot:Connect", "client"),
    ("iot:Publish", "topic"),
    ("iot:Receive", "topic"),
    ("iot:RetainPublish", "topic"),
    ("iot:GetRetainedMessage", "topic"),
    ("iot:Subscribe", "topicfilter"),
    ("iot:GetThingShadow", "thing"),
    ("iot:UpdateThingShadow", "thing"),
    ("iot:DeleteThingShadow", "thing"),
    ("iot:ListNamedShadowsForThing", "thing"),
    ("iot:DescribeJobExecution", "thing"),
    ("iot:GetPendingJobExecutions", "thing"),
    ("iot:StartNextPendingJobExecution", "thing"),
    ("iot:UpdateJobExecution", "thing"),
];
/// Other actions of devices.
const OF_DEVICES: [&str; 2] = ["iot:ListRetainedMessages", "iot:AssumeRoleWithCertificate"];

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
    let of_resources = resources.iter().filter_map(|resource| {
        let text = of_resource(&actions, resource)?;
        let field = field.clone();
        Some(Warning { field, text })
    });
    let mut warnings: Vec<_> = of_resources.collect();
    let known = |action: &str| {
        OF_DEVICES.contains(&action) || OF_ONE_DEVICE.iter().any(|(known, _)| *known == action)
    };
    for action in actions.iter().filter(|action| !known(action)) {
        warnings.push(Warning {
            field: format!("{path}.Action"),
            text: format!(
                "{action} is nothing that AWS IoT lets devices do: an operator's action, which is \
                 IAM's to allow, or misspelt"
            ),
        });
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

/// What is hardly meant by a resource.
fn of_resource(actions: &[&str], resource: &str) -> Option<String> {
    let variables = variables(resource);
    let has = |known: &[&str]| variables.iter().any(|name| is_one_of(name, known));
    let unknown =
        |name: &&&str| !is_one_of(name, &OF_THE_DEVICE) && !is_one_of(name, &OF_NO_DEVICE);
    if let Some(name) = variables.iter().find(unknown) {
        return Some(format!(
            "${{{name}}} is no variable of AWS IoT's policies, so {resource} is no device's; the \
             thing's name is ${{iot:Connection.Thing.ThingName}}"
        ));
    }
    if has(&OF_THE_DEVICE) {
        return None;
    }
    if has(&[CLIENT_ID]) {
        return Some(format!(
            "{resource} is bound to the client id, which a device chooses itself; \
             ${{iot:Connection.Thing.ThingName}} is bound to its certificate"
        ));
    }
    let kind = kind_of(resource);
    let fits = |(action, wanted): &&(&str, &str)| actions.contains(action) && *wanted == kind;
    let (action, _) = OF_ONE_DEVICE.iter().find(fits)?;
    let better = if kind == "thing" {
        // By HTTPS, which these actions are for, a thing's variables have no value.
        "each reaches what is the others'. Over MQTT, a device's own shadows and jobs are the \
         topics below $aws/things/${iot:Connection.Thing.ThingName}"
    } else {
        "with ${iot:Connection.Thing.ThingName} in it each has its own"
    };
    Some(format!(
        "{action} on {resource} is the same for every device under the policy; {better}"
    ))
}

/// The names of the variables in a resource.
fn variables(resource: &str) -> Vec<&str> {
    let parts = resource.split("${").skip(1);
    parts
        .map(|part| part.split('}').next().unwrap_or_default())
        .collect()
}

fn is_one_of(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| {
        let open = known.ends_with(['[', '.']);
        name == *known || (open && name.starts_with(known))
    })
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

    #[test]
    fn what_is_the_others_too_and_what_is_nobodys() {
        let arn = |rest: &str| json!(format!("arn:aws:iot:eu-south-1:1:{rest}"));
        let same = &["the same for every device"][..];
        for (action, resource, about) in [
            ("GetThingShadow", "thing/*", same),
            ("UpdateThingShadow", "thing/milan-01", same),
            ("GetRetainedMessage", "topic/lights/*", same),
            ("UpdateJobExecution", "thing/*", same),
            (
                "GetThingShadow",
                "thing/${iot:Certificate.Subject.CommonName}",
                &[],
            ),
            ("GetThingShadow", "topic/*", &["holds for thing"]),
            ("ListRetainedMessages", "topic/*", &[]),
            ("AssumeRoleWithCertificate", "rolealias/lights", &[]),
            ("DeleteThing", "thing/x", &["an operator's action"]),
            ("Foo", "topic/x", &["misspelt"]),
            ("connect", "client/x", &["misspelt"]),
            (
                "Connect",
                "client/${iot:Connection.Thing.Name}",
                &["${iot:Connection.Thing.Name} is no variable"],
            ),
            ("Publish", "topic/${iot:ThingName}/x", &["is no variable"]),
            ("Publish", "topic/${", &["is no variable"]),
            ("Publish", "topic/${aws:SourceIp}", same),
            ("Publish", "topic/${*}", same),
            (
                "Publish",
                "topic/${iot:Connection.Thing.Attributes[city]}/x",
                &[],
            ),
            (
                "Publish",
                "topic/${iot:Connection.Thing.ThingTypeName}/x",
                &[],
            ),
        ] {
            check(&json!(format!("iot:{action}")), &arn(resource), about);
        }
    }
}
