//! Job templates, as the catalog declares them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::job::Template;
use crate::job::document::MOST_BYTES;
use crate::names::{GroupName, JobTemplateName, ThingTypeName};

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

impl JobTemplate {
    /// The template as it is dispatched. `path` leads to it.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub fn read(&self, path: &str) -> Result<Template, Failure> {
        let fields = serde_json::to_value(self)
            .map_err(|error| Failure::bug(format!("a job template does not serialise: {error}")))?;
        Template::from_value(path, fields)
    }
}

impl JobTemplate {
    /// That a group may give it to whoever enters, when nobody is there to give its
    /// parameters. `path` leads to where it is named.
    ///
    /// # Errors
    /// `Invalid` for `path`.
    pub fn check_on_enter(&self, path: &str, group: &GroupName) -> Result<(), Failure> {
        let template = self.read(path)?;
        let wanting: Vec<_> = template.parameters.without_default().collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let wanting = wanting.join(", ");
        Err(Failure::invalid(
            path,
            format!(
                "{group} cannot give {} to whoever enters: nobody gives {wanting}",
                self.name
            ),
            format!("Give {wanting} a default in the template, or use another template."),
        ))
    }
}

/// Checks all of a template, so that it can be dispatched once its parameters
/// are given. `path` leads to it.
pub(super) fn check_template(path: &str, template: &JobTemplate) -> Result<(), Failure> {
    let bytes = template.document.to_string().len();
    if bytes > MOST_BYTES {
        return Err(Failure::invalid(
            &format!("{path}.document"),
            format!("the job document is {bytes} bytes long"),
            format!("AWS IoT allows {MOST_BYTES}; keep large parts in S3."),
        ));
    }
    template.read(path).map(drop)
}
