//! How a command ends: its exit code, and what it says when it did not do what
//! was asked.

use std::process::ExitCode;

use lamplighter_domain::Kind;
use serde_json::{Value, json};

/// The exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for is so.
    Done,
    /// Something went wrong on the way.
    Failed,
    /// The command line or a file named on it is not usable; nothing was sent.
    Usage,
    /// The service understood and said no.
    Refused,
    /// Not done yet: an operation still runs, or the service was too busy.
    Pending,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Pending => 4,
        }
    }

    /// The code for several outcomes together: the one a person must act on
    /// first.
    pub(crate) fn and(self, other: Self) -> Self {
        [Self::Usage, Self::Failed, Self::Refused, Self::Pending]
            .into_iter()
            .find(|exit| *exit == self || *exit == other)
            .unwrap_or(Self::Done)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The problem document's code, or `Usage` or `Local` for what never
    /// reached the service.
    pub(crate) code: &'static str,
    pub(crate) field: Option<String>,
    pub(crate) reason: String,
    pub(crate) remedy: Option<String>,
    /// The HTTP status, if the service answered.
    pub(crate) status: Option<u16>,
    pub(crate) operation_id: Option<String>,
}

impl Failure {
    fn local(exit: Exit, code: &'static str, reason: impl Into<String>, remedy: &str) -> Self {
        Self {
            exit,
            code,
            field: None,
            reason: reason.into(),
            remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
            status: None,
            operation_id: None,
        }
    }

    /// The command line, or a file named on it, cannot be used.
    pub(crate) fn usage(reason: impl Into<String>, remedy: &str) -> Self {
        Self::local(Exit::Usage, "Usage", reason, remedy)
    }

    /// Something on this machine or on the way to the service failed.
    pub(crate) fn failed(reason: impl Into<String>, remedy: &str) -> Self {
        Self::local(Exit::Failed, "Local", reason, remedy)
    }

    /// Refused here, before anything was sent.
    pub(crate) fn refused(field: &str, reason: impl Into<String>, remedy: &str) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::local(Exit::Refused, "Local", reason, remedy)
        }
    }

    /// What an answer other than success means. A gateway in front of the
    /// functions answers with a bare `message` instead of a problem document.
    pub(crate) fn from_answer(status: u16, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let kind = body["code"]
            .as_str()
            .and_then(kind)
            .unwrap_or(match status {
                401 | 403 => Kind::Denied,
                404 | 410 => Kind::NotFound,
                409 => Kind::Conflict,
                429 | 502..=504 => Kind::Busy,
                400..=499 => Kind::Invalid,
                _ => Kind::Unknown,
            });
        let remedy = match kind {
            _ if body["remedy"].is_string() => text("remedy"),
            Kind::Denied => Some(
                "Check the credentials, and that their role may invoke this API (the stack's \
                 outputs CallerPolicyArn, KeyReaderPolicyArn and TunnelPolicyArn name the \
                 policies)."
                    .to_owned(),
            ),
            // No function answers so: the gateway knows no such route.
            Kind::NotFound if !body["code"].is_string() => Some(
                "Check --api-url (LAMP_API_URL), and that the stack is of this lamp's version."
                    .to_owned(),
            ),
            _ => None,
        };
        Self {
            exit: match kind {
                // Answered 500, the refusal is not the caller's doing.
                Kind::Denied if status >= 500 => Exit::Failed,
                Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::Denied => Exit::Refused,
                Kind::Busy => Exit::Pending,
                Kind::Unknown | Kind::Stuck | Kind::Bug => Exit::Failed,
            },
            code: kind.name(),
            field: text("field"),
            reason: text("reason")
                .or_else(|| text("message").or_else(|| text("Message")))
                .unwrap_or_else(|| format!("the API answered HTTP {status}")),
            remedy,
            status: Some(status),
            operation_id: text("operationId"),
        }
    }

    /// Whether the same request, sent again later, may succeed.
    pub(crate) fn retryable(&self) -> bool {
        self.status.is_some() && kind(self.code).is_some_and(Kind::retryable)
    }

    /// As a JSON object, for `--output json`.
    pub(crate) fn json(&self) -> Value {
        let mut document = json!({ "code": self.code, "reason": self.reason });
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                document[name] = value;
            }
        };
        put("field", self.field.clone().map(Value::from));
        put("remedy", self.remedy.clone().map(Value::from));
        put("status", self.status.map(Value::from));
        put("operationId", self.operation_id.clone().map(Value::from));
        document
    }

    /// For a person: field, reason, remedy.
    pub(crate) fn text(&self) -> String {
        let verb = match self.exit {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Refused => "refused",
            Exit::Pending => "pending",
        };
        let field = self
            .field
            .as_ref()
            .map(|field| format!("{field}: "))
            .unwrap_or_default();
        let mut text = format!("{verb}: {field}{}", self.reason);
        if let Some(remedy) = &self.remedy {
            text.push_str("\n  remedy: ");
            text.push_str(remedy);
        }
        if let Some(status) = self.status {
            let operation = self
                .operation_id
                .iter()
                .map(|id| format!(", operation {id}"));
            text.extend([format!("\n  answer: HTTP {status}, {}", self.code)]);
            text.extend(operation);
        }
        text
    }
}

impl From<lamplighter_domain::Failure> for Failure {
    fn from(failure: lamplighter_domain::Failure) -> Self {
        Self {
            field: failure.field,
            ..Self::local(
                Exit::Refused,
                failure.kind.name(),
                failure.reason,
                &failure.remedy,
            )
        }
    }
}

/// The kind that a problem document's code names.
fn kind(code: &str) -> Option<Kind> {
    serde_json::from_value(Value::from(code)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_exit_code() {
        for (status, code, exit, retryable) in [
            (400, "Invalid", 3, false),
            (413, "Invalid", 3, false),
            (404, "NotFound", 3, false),
            (410, "NotFound", 3, false),
            (409, "Conflict", 3, false),
            (403, "Denied", 3, false),
            (500, "Denied", 1, false),
            (429, "Busy", 4, true),
            (503, "Busy", 4, true),
            (503, "Unknown", 1, true),
            (500, "Stuck", 1, false),
            (500, "Bug", 1, false),
            // What a gateway answers itself carries no code.
            (403, "", 3, false),
            (503, "", 4, true),
            (500, "", 1, true),
            (500, "NoSuchCode", 1, true),
        ] {
            let body = match code {
                "" => json!({ "message": "said the gateway" }),
                code => json!({ "code": code, "reason": "r", "remedy": "m", "field": "f" }),
            };
            let failure = Failure::from_answer(status, &body);
            assert_eq!(failure.exit.code(), exit, "{status} {code}");
            assert_eq!(failure.retryable(), retryable, "{status} {code}");
        }
    }

    #[test]
    fn what_the_gateway_refuses_has_a_remedy() {
        for status in [403, 404] {
            let failure = Failure::from_answer(status, &json!({ "message": "so it is" }));
            assert!(failure.remedy.is_some(), "{status}");
            let failure = Failure::from_answer(status, &Value::Null);
            assert!(failure.reason.contains(&status.to_string()));
        }
    }

    #[test]
    fn many_outcomes_have_one_exit_code() {
        use Exit::{Done, Failed, Pending, Refused};
        for (outcomes, expected) in [
            (vec![], Done),
            (vec![Done, Done], Done),
            (vec![Done, Pending], Pending),
            (vec![Pending, Refused, Done], Refused),
            (vec![Refused, Failed, Pending], Failed),
        ] {
            let together = outcomes.iter().copied().fold(Done, Exit::and);
            assert_eq!(together, expected, "{outcomes:?}");
        }
    }

    #[test]
    fn a_person_reads_field_reason_and_remedy() {
        let failure = Failure::from_answer(
            409,
            &json!({ "code": "Conflict", "field": "attributes", "reason": "wattage is 40",
                     "remedy": "Delete it first.", "operationId": "op-1" }),
        );
        assert_eq!(
            failure.text(),
            "refused: attributes: wattage is 40\n  remedy: Delete it first.\n  answer: HTTP 409, \
             Conflict, operation op-1"
        );
    }
}
