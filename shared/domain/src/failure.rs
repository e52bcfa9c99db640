//! The one failure type, and what each kind means for the caller.

use serde::{Deserialize, Serialize};

/// Why something was not done. The variant's name is the literal `errorType`
/// that the workflows retry and catch by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Malformed or refused input.
    Invalid,
    /// No such device, certificate or group; or no longer.
    NotFound,
    /// It exists and differs.
    Conflict,
    /// IAM or the configuration forbids it.
    Denied,
    /// Throttled, unavailable, or in flight: safe to repeat.
    Busy,
    /// Whether it was done is not known: a call that may not be repeated was not
    /// answered, or there was no time left to see.
    Unknown,
    /// An undo failed for good; a person is needed.
    Stuck,
    /// One of our own invariants is broken.
    Bug,
}

impl Kind {
    /// The name, as workflows and problem documents spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::Denied => "Denied",
            Self::Busy => "Busy",
            Self::Unknown => "Unknown",
            Self::Stuck => "Stuck",
            Self::Bug => "Bug",
        }
    }

    /// Whether the same request, sent again later, may succeed unchanged.
    pub const fn retryable(self) -> bool {
        match self {
            Self::Busy | Self::Unknown => true,
            Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Denied
            | Self::Stuck
            | Self::Bug => false,
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Denied => 403,
            Self::Busy | Self::Unknown => 503,
            Self::Stuck | Self::Bug => 500,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request is not acceptable",
            Self::NotFound => "There is none, or no longer",
            Self::Conflict => "It exists and differs",
            Self::Denied => "It is not permitted",
            Self::Busy => "Busy; try again",
            Self::Unknown => "The outcome is not known yet; try again",
            Self::Stuck => "The operation is stuck and needs a person",
            Self::Bug => "Something is wrong inside Lamplighter",
        }
    }
}

/// A failure: what the caller is told, and what the operator is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {}{reason}", kind.name(), field.as_deref().map(|f| format!("{f}: ")).unwrap_or_default())]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: Kind,
    /// The field of the request at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, for the caller.
    pub reason: String,
    /// What the caller can do about it.
    pub remedy: String,
    /// What the operator should know besides; never sent to a caller.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// The HTTP status, where it is not the kind's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// After how many seconds it is worth trying again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: Kind, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            field: None,
            reason: reason.into(),
            remedy: remedy.into(),
            operator: String::new(),
            status: None,
            retry_after: None,
        }
    }

    /// Malformed or refused input in `field`.
    pub fn invalid(field: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, reason, remedy).field(field)
    }

    /// Nothing of the name is there.
    pub fn not_found(field: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, reason, remedy).field(field)
    }

    /// It exists and differs in `field`.
    pub fn conflict(field: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, reason, remedy).field(field)
    }

    /// Safe to repeat after some seconds.
    pub fn busy(reason: impl Into<String>, retry_after: u64) -> Self {
        let mut failure = Self::new(
            Kind::Busy,
            reason,
            format!("Send the same request again after {retry_after} s."),
        );
        failure.retry_after = Some(retry_after);
        failure
    }

    /// One of our own invariants is broken; the details are the operator's.
    pub fn bug(operator: impl Into<String>) -> Self {
        Self::new(
            Kind::Bug,
            "an internal rule was broken",
            "Nothing you sent is at fault; the operator has been told.",
        )
        .operator(operator)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Adds what only the operator should read.
    #[must_use]
    pub fn operator(mut self, operator: impl Into<String>) -> Self {
        self.operator = operator.into();
        self
    }

    /// Answers with another HTTP status than the kind's usual one.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The HTTP status to answer with.
    pub fn http_status(&self) -> u16 {
        self.status.unwrap_or(self.kind.status())
    }

    /// The problem document (RFC 9457) for the caller; without the operator's
    /// message.
    pub fn problem(&self, operation_id: Option<&str>) -> Problem<'_> {
        Problem {
            r#type: format!("urn:lamplighter:failure:{}", self.kind.name()),
            title: self.kind.title(),
            status: self.http_status(),
            code: self.kind.name(),
            field: self.field.as_deref(),
            reason: &self.reason,
            remedy: &self.remedy,
            operation_id: operation_id.map(str::to_owned),
        }
    }
}

/// A problem document (RFC 9457, "Problem Details for HTTP APIs").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    reason: &'a str,
    remedy: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_never_carries_the_operators_message() {
        let failure = Failure::bug("table said no").operator("secret detail");
        let text = serde_json::to_string(&failure.problem(None)).unwrap();
        assert!(!text.contains("secret detail"), "{text}");
        assert!(text.contains(r#""code":"Bug""#), "{text}");
    }

    #[test]
    fn only_busy_and_unknown_are_worth_repeating() {
        for (kind, retryable) in [
            (Kind::Invalid, false),
            (Kind::NotFound, false),
            (Kind::Conflict, false),
            (Kind::Denied, false),
            (Kind::Busy, true),
            (Kind::Unknown, true),
            (Kind::Stuck, false),
            (Kind::Bug, false),
        ] {
            assert_eq!(kind.retryable(), retryable, "{}", kind.name());
        }
    }
}
