//! Job templates, as the catalog declares them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::names::{JobTemplateName, ThingTypeName};

/// AWS: "Maximum job document size", in bytes.
const LONGEST_DOCUMENT: usize = 32_768;

/// A job that can be dispatched by its name. The document is kept as it is
/// declared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobTemplate {
    /// Its name.
    pub name: JobTemplateName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The only type of thing that may get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// What is filled in when it is dispatched, by name.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The firmware version that a device's shadow reports when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirms_firmware: Option<String>,
    /// What the device reads.
    pub document: Value,
}

/// Checks a template's form: for now what the registry has to be able to hold.
/// `path` leads to the template.
pub(super) fn check_template(path: &str, template: &JobTemplate) -> Result<(), Failure> {
    let at = format!("{path}.document");
    if !template.document.is_object() {
        return Err(Failure::invalid(
            &at,
            "the job document is no object",
            "Write the document as YAML or JSON, not as a text.",
        ));
    }
    let bytes = template.document.to_string().len();
    if bytes > LONGEST_DOCUMENT {
        return Err(Failure::invalid(
            &at,
            format!("the job document is {bytes} bytes long"),
            format!("AWS IoT allows {LONGEST_DOCUMENT}; keep large parts in S3."),
        ));
    }
    if let Some((name, _)) = template.parameters.iter().find(|(_, p)| !p.is_object()) {
        return Err(Failure::invalid(
            &format!("{path}.parameters.{name}"),
            "the parameter is no object",
            "Declare it as an object; an empty one will do.",
        ));
    }
    Ok(())
}
