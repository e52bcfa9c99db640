//! Policy documents, as far as AWS IoT and common sense bound them.

use serde_json::Value;

use crate::failure::Failure;
use crate::quote::quoted;

/// AWS IoT's "Maximum policy document size", white space not counted.
const MOST_CHARACTERS: usize = 2048;

/// Refuses a document that AWS IoT would refuse, and one that allows
/// everything. `path` leads to the document.
pub fn check_document(path: &str, document: &Value) -> Result<(), Failure> {
    let Some(fields) = document.as_object() else {
        return Err(Failure::invalid(
            path,
            "the policy document is no object",
            "Give Version and Statement.",
        ));
    };
    if let Some(field) = fields
        .keys()
        .find(|key| !["Version", "Id", "Statement"].contains(&key.as_str()))
    {
        return Err(Failure::invalid(
            &format!("{path}.{field}"),
            format!("a policy document has no field {field}"),
            "Give Version and Statement.",
        ));
    }
    if document["Version"] != "2012-10-17" {
        return Err(Failure::invalid(
            &format!("{path}.Version"),
            "the version of the policy language is missing or another",
            "Write Version: \"2012-10-17\", with the quotes: YAML reads a bare date as one.",
        ));
    }
    // As compact JSON the only white space left stands inside strings.
    let size = document
        .to_string()
        .chars()
        .filter(|c| !c.is_whitespace())
        .count();
    if size > MOST_CHARACTERS {
        return Err(Failure::invalid(
            path,
            format!("the policy document has {size} characters"),
            format!("AWS IoT allows {MOST_CHARACTERS}; split it into two policies."),
        ));
    }
    let statements = one_or_more(&document["Statement"]);
    if statements.is_empty() {
        return Err(Failure::invalid(
            &format!("{path}.Statement"),
            "the policy document has no statement",
            "Give at least one statement.",
        ));
    }
    for (i, statement) in statements.into_iter().enumerate() {
        check_statement(&format!("{path}.Statement[{i}]"), statement)?;
    }
    Ok(())
}

fn check_statement(path: &str, statement: &Value) -> Result<(), Failure> {
    let Some(fields) = statement.as_object() else {
        return Err(Failure::invalid(
            path,
            "the statement is no object",
            "Give Effect, Action and Resource.",
        ));
    };
    let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
    if let Some(field) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Failure::invalid(
            &format!("{path}.{field}"),
            format!("AWS IoT's policies have no {field}"),
            format!("A statement has {}.", known.join(", ")),
        ));
    }
    let allows = match statement["Effect"].as_str() {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => {
            return Err(Failure::invalid(
                &format!("{path}.Effect"),
                "the effect is neither Allow nor Deny",
                "Write Effect: Allow or Effect: Deny.",
            ));
        }
    };
    for action in texts(path, "Action", &statement["Action"])? {
        check_action(&format!("{path}.Action"), action, allows)?;
    }
    for resource in texts(path, "Resource", &statement["Resource"])? {
        check_resource(&format!("{path}.Resource"), resource, allows)?;
    }
    Ok(())
}

fn check_action(path: &str, action: &str, allows: bool) -> Result<(), Failure> {
    if allows && action.contains(['*', '?']) {
        return Err(Failure::invalid(
            path,
            format!("the action {} allows more than it names", quoted(action)),
            "Name what a device does: iot:Connect, iot:Publish, iot:Receive, iot:Subscribe, …",
        ));
    }
    if action != "*" && !action.starts_with("iot:") {
        return Err(Failure::invalid(
            path,
            format!("{} is no action of AWS IoT", quoted(action)),
            "Actions begin with iot:, for instance iot:Connect.",
        ));
    }
    Ok(())
}

fn check_resource(path: &str, resource: &str, allows: bool) -> Result<(), Failure> {
    if resource == "*" && !allows {
        return Ok(());
    }
    if resource == "*" {
        return Err(Failure::invalid(
            path,
            "the resource \"*\" is every device's",
            "Name what belongs to the device: \
             arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}, for instance.",
        ));
    }
    let parts: Vec<_> = resource.splitn(6, ':').collect();
    let [arn, _, service, _, _, rest] = parts[..] else {
        return Err(no_arn(path, resource));
    };
    if arn != "arn" || service != "iot" || rest.is_empty() || (allows && rest.starts_with('*')) {
        return Err(no_arn(path, resource));
    }
    Ok(())
}

fn no_arn(path: &str, resource: &str) -> Failure {
    Failure::invalid(
        path,
        format!("{} names no resource of AWS IoT", quoted(resource)),
        "Write arn:aws:iot:REGION:ACCOUNT:KIND/NAME; region and account may be a star.",
    )
}

/// The texts of a field that has been checked.
pub(super) fn texts_in(value: &Value) -> Vec<&str> {
    one_or_more(value)
        .into_iter()
        .filter_map(Value::as_str)
        .collect()
}

/// One text or a list of texts, at least one.
fn texts<'a>(path: &str, field: &str, value: &'a Value) -> Result<Vec<&'a str>, Failure> {
    let texts: Option<Vec<_>> = one_or_more(value).into_iter().map(Value::as_str).collect();
    texts
        .filter(|all| !all.is_empty() && !all.contains(&""))
        .ok_or_else(|| {
            Failure::invalid(
                &format!("{path}.{field}"),
                format!("{field} is neither a text nor a list of texts"),
                format!("Give one {field}, or a list with at least one."),
            )
        })
}

/// Policies write one of something without a list.
pub(super) fn one_or_more(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().collect(),
        one => vec![one],
    }
}
