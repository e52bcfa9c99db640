//! What comes of calls that remove something.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;

use crate::failure::{self, Cause};

/// What came of one effect.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done, or there was nothing to do.
    Done,
    /// Refused, for something it depends on is still there. That passes when
    /// AWS has settled; if it never does, the proof says what is left.
    Settling(Failure),
    /// Throttled, or the answer was lost.
    Later(Failure),
    /// It was too late to start it.
    NotStarted,
}

/// What came of a call that removes something. What is gone already is done.
pub(crate) fn outcome<T, E>(
    api: &str,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Outcome, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = answer else {
        return Ok(Outcome::Done);
    };
    let failure = failure::of(api, &error);
    match failure::cause(&error) {
        Cause::NotFound => Ok(Outcome::Done),
        Cause::Conflict | Cause::Refused | Cause::Condition => Ok(Outcome::Settling(failure)),
        Cause::Throttled | Cause::Lost => Ok(Outcome::Later(failure)),
        Cause::Denied => Err(failure),
    }
}
