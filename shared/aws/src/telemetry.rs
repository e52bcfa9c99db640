//! Logs: one JSON object a line, its level from `LOG_LEVEL`.
//!
//! A failure is logged once, where a function answers it, with the field
//! `failure` that the alarms filter by.

use lamplighter_domain::Failure;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// The runtime logs whole events at TRACE from here, and with them what callers
/// send that no log should have: idempotency keys, or a private key that got
/// into a request by mistake (invariant 4).
const EVENTS: &str = "lambda_runtime::layers::api_response=warn";

/// Starts logging; called once, first, in `main`.
pub fn start() {
    let mut filter =
        EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    if let Ok(without_events) = EVENTS.parse::<Directive>() {
        filter = filter.add_directive(without_events);
    }
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_target(true)
        .with_current_span(false)
        .init();
}

/// Logs for the operator what came from AWS and is not taken in: nobody else
/// hears of it.
pub fn lost(failure: &Failure) {
    let (kind, field) = (failure.kind.name(), failure.field.as_deref());
    let (reason, operator) = (&failure.reason, &failure.operator);
    tracing::warn!(failure = kind, field, reason, operator, "lost");
}

/// Logs a failure for the operator.
pub fn failed(failure: &Failure) {
    let (kind, field) = (failure.kind.name(), failure.field.as_deref());
    let (reason, operator) = (&failure.reason, &failure.operator);
    if matches!(
        failure.kind,
        lamplighter_domain::Kind::Invalid | lamplighter_domain::Kind::NotFound
    ) {
        tracing::info!(failure = kind, field, reason, operator, "refused");
    } else {
        tracing::warn!(failure = kind, field, reason, operator, "failed");
    }
}
