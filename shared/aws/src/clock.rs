//! The clock and the dice: read here, passed inward as values.

use std::time::{SystemTime, UNIX_EPOCH};

use lamplighter_domain::Failure;
use lamplighter_domain::authority::Serial;
use lamplighter_domain::enrolment::Token;
use lamplighter_domain::names::{CaseId, OperationId};
use lamplighter_domain::time::Moment;
use lamplighter_domain::tunnel::TunnelId;

/// The present moment.
pub fn now() -> Moment {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A new operation's id.
///
/// # Panics
/// If the operating system has no randomness to give.
pub fn operation_id() -> OperationId {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    OperationId::from_random(bytes)
}

/// A new case's id.
///
/// # Panics
/// Without randomness from the operating system, which then has other troubles.
pub fn case_id() -> CaseId {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    CaseId::from_random(bytes)
}

/// The id of a tunnel that was asked for without a key.
///
/// # Panics
/// Without randomness from the operating system, which then has other troubles.
pub fn tunnel_id() -> TunnelId {
    TunnelId::from_key(operation_id().as_str())
}

/// A new token for an enrolment.
pub fn enrolment_token() -> Result<Token, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::bug("no randomness"))?;
    Ok(Token::from_random(bytes))
}

/// A new certificate's serial number.
pub fn serial() -> Result<Serial, Failure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::bug("no randomness"))?;
    Serial::from_random(bytes)
}
