//! Versions of a policy in AWS IoT: read, made and switched between, for mass
//! stops and for catalogs.

use std::collections::BTreeMap;

use aws_sdk_iot::Client;
use lamplighter_domain::Failure;
use lamplighter_domain::names::PolicyName;
use lamplighter_domain::stop::Versions;
use serde_json::Value;

use crate::describe::found;
use crate::failure;

/// All versions with their documents, if there is such a policy.
pub async fn versions(iot: &Client, policy: &PolicyName) -> Result<Option<Versions>, Failure> {
    let request = iot.list_policy_versions().policy_name(policy.as_str());
    let Some(listed) = found("iot:ListPolicyVersions", request.send().await)? else {
        return Ok(None);
    };
    let mut versions = Versions {
        default: String::new(),
        documents: BTreeMap::new(),
    };
    for version in listed.policy_versions.unwrap_or_default() {
        let id = version.version_id.unwrap_or_default();
        let request = iot.get_policy_version().policy_name(policy.as_str());
        let answer = request.policy_version_id(&id).send().await;
        // One that is deleted meanwhile is none.
        let Some(document) = found("iot:GetPolicyVersion", answer)? else {
            continue;
        };
        let text = document.policy_document.unwrap_or_default();
        if version.is_default_version {
            versions.default.clone_from(&id);
        }
        let document = serde_json::from_str(&text).unwrap_or_default();
        versions.documents.insert(id, document);
    }
    Ok(Some(versions))
}

/// Makes a version that is not the default, and says its id.
pub async fn make(iot: &Client, policy: &PolicyName, document: &Value) -> Result<String, Failure> {
    let request = iot.create_policy_version().policy_name(policy.as_str());
    let made = request
        .policy_document(document.to_string())
        .set_as_default(false)
        .send()
        .await
        .map_err(|error| failure::of("iot:CreatePolicyVersion", &error))?;
    made.policy_version_id
        .ok_or_else(|| Failure::bug("a policy version without an id"))
}

/// Makes a version the default.
pub async fn make_default(iot: &Client, policy: &PolicyName, version: &str) -> Result<(), Failure> {
    let request = iot.set_default_policy_version();
    request
        .policy_name(policy.as_str())
        .policy_version_id(version)
        .send()
        .await
        .map(drop)
        .map_err(|error| failure::of("iot:SetDefaultPolicyVersion", &error))
}

/// Deletes a version that is not the default; one that is gone is success.
pub async fn remove(iot: &Client, policy: &PolicyName, version: &str) -> Result<(), Failure> {
    let request = iot.delete_policy_version().policy_name(policy.as_str());
    let answer = request.policy_version_id(version).send().await;
    found("iot:DeletePolicyVersion", answer).map(drop)
}
