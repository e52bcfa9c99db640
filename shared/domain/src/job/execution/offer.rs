//! An execution as AWS offers it to a device.

use serde_json::Value;

use crate::failure::Failure;
use crate::job::document::Document;

/// The execution of a `notify-next` or `start-next/accepted` message
/// ("Jobs device MQTT and HTTPS APIs", AWS IoT Core Developer Guide).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The job.
    pub job_id: String,
    /// Which execution of it.
    pub execution_number: u64,
    /// What is to be done, or why that cannot be read.
    pub document: Result<Document, Failure>,
}

impl Offer {
    /// Reads a message. Nothing is offered where `execution` is empty.
    ///
    /// # Errors
    /// `Invalid` for a message that is none of AWS's. A document that cannot be
    /// read is no such failure: it has to be answered.
    pub fn read(payload: &[u8]) -> Result<Option<Self>, Failure> {
        let refuse = |why: &str| {
            Failure::invalid(
                "execution",
                format!("the message offers no execution: {why}"),
                "Pass on what AWS IoT Jobs publishes.",
            )
        };
        let message: Value =
            serde_json::from_slice(payload).map_err(|error| refuse(&error.to_string()))?;
        let Some(execution) = message.get("execution").and_then(Value::as_object) else {
            return if message.is_object() {
                Ok(None)
            } else {
                Err(refuse("it is no object"))
            };
        };
        if execution.is_empty() {
            return Ok(None);
        }
        let job_id = execution.get("jobId").and_then(Value::as_str);
        let job_id = job_id
            .filter(|id| is_job_id(id))
            .ok_or_else(|| refuse("no jobId"))?;
        let number = execution.get("executionNumber").and_then(Value::as_u64);
        let document = match execution.get("jobDocument") {
            Some(Value::String(text)) => Document::parse(text.as_bytes()),
            Some(document) => Document::parse(document.to_string().as_bytes()),
            None => Err(refuse("no jobDocument")),
        };
        Ok(Some(Self {
            job_id: job_id.to_owned(),
            execution_number: number.unwrap_or(1),
            document,
        }))
    }
}

/// AWS: 1 to 64 of `[a-zA-Z0-9_-]`. It becomes part of a topic and of a path.
fn is_job_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
