//! What is wrong with a query, or may be: each points at a character.

use crate::failure::Failure;

/// A query is refused: where, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {}: {reason}. {remedy}", at + 1)]
pub struct QueryError {
    /// The character at fault, counted from 0; one past the last if something
    /// is missing at the end.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl QueryError {
    pub(crate) fn new(at: usize, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// The part of the query around the character at fault, and a caret under
    /// it on the next line.
    pub fn pointing(&self, query: &str) -> String {
        pointing(query, self.at)
    }

    /// As the refusal of a request that has the query in `field`.
    pub fn into_failure(self, field: &str) -> Failure {
        let reason = format!("character {}: {}", self.at + 1, self.reason);
        Failure::invalid(field, reason, self.remedy)
    }
}

/// A query is accepted, but may not mean what its author thinks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {}: {text}", at + 1)]
pub struct Warning {
    /// The character it is about, counted from 0.
    pub at: usize,
    /// What to know.
    pub text: String,
}

impl Warning {
    /// As [`QueryError::pointing`].
    pub fn pointing(&self, query: &str) -> String {
        pointing(query, self.at)
    }
}

/// Characters shown on either side of the one that is pointed at.
const AROUND: usize = 36;

fn pointing(query: &str, at: usize) -> String {
    let first = at.saturating_sub(AROUND);
    let shown: String = query
        .chars()
        .skip(first)
        .take(2 * AROUND)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let cut = if first == 0 { "" } else { "…" };
    let more = if query.chars().count() > first + 2 * AROUND {
        "…"
    } else {
        ""
    };
    let indent = " ".repeat(at - first + cut.chars().count());
    format!("{cut}{}{more}\n{indent}^", shown.trim_end())
}
