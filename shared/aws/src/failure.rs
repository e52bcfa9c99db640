//! From the SDK's errors to the one [`Failure`].

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lambda_runtime::Diagnostic;
use lamplighter_domain::{Failure, Kind};

/// What an AWS call's error amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Refused by a rate limit: certainly not done.
    Throttled,
    /// The service failed or was not reached; it may or may not be done.
    Lost,
    /// IAM forbids it.
    Denied,
    /// What it names is not there.
    NotFound,
    /// It exists already, or is in a state that conflicts.
    Conflict,
    /// A condition did not hold (`DynamoDB`, S3).
    Condition,
    /// The service refuses the request as it is.
    Refused,
}

/// What the error of any AWS call amounts to.
pub fn cause<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Cause {
    let status = error.raw_response().map_or(0, |r| r.status().as_u16());
    let Some(code) = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
    else {
        return match (error, status) {
            (SdkError::ConstructionFailure(_), _) => Cause::Refused,
            (_, 429) => Cause::Throttled,
            (_, 403) => Cause::Denied,
            (_, 404) => Cause::NotFound,
            (_, 412) => Cause::Condition,
            _ => Cause::Lost,
        };
    };
    match code {
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "SlowDown"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "TransactionInProgressException"
        | "TransactionConflictException"
        | "ConditionalRequestConflict" => Cause::Throttled,
        "AccessDeniedException"
        | "AccessDenied"
        | "UnauthorizedException"
        | "ForbiddenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException" => Cause::Denied,
        "ResourceNotFoundException"
        | "NoSuchKey"
        | "NotFoundException"
        | "NotFound"
        | "NoSuchVersion" => Cause::NotFound,
        "ResourceAlreadyExistsException"
        | "ConflictException"
        | "DeleteConflictException"
        | "CertificateStateException"
        | "VersionConflictException"
        | "ConflictingResourceUpdateException"
        | "InvalidStateTransitionException"
        | "ExecutionAlreadyExists" => Cause::Conflict,
        "ConditionalCheckFailedException" | "PreconditionFailed" => Cause::Condition,
        _ if status == 429 => Cause::Throttled,
        _ if status >= 500 => Cause::Lost,
        _ => Cause::Refused,
    }
}

/// The failure of a call that may be repeated. `api` names it as the quotas do,
/// for instance `iot:CreateThing`.
pub fn of<E>(api: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = cause(error);
    let said = error.as_service_error().map_or_else(
        || std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
        |e| {
            format!(
                "{}: {}",
                e.code().unwrap_or("no code"),
                e.message().unwrap_or("no message")
            )
        },
    );
    let operator = format!("{api}: {said}");
    match cause {
        Cause::Throttled => Failure::busy(format!("{api} is throttled"), 1).status(429),
        Cause::Lost => Failure::busy(format!("{api} did not answer"), 1),
        Cause::Denied => Failure::new(
            Kind::Denied,
            format!("the stack's role may not call {api}"),
            "Compare the function's role with the template, and look for a service control policy.",
        ),
        Cause::NotFound => Failure::new(
            Kind::NotFound,
            format!("{api} found nothing"),
            "Check the names sent.",
        ),
        Cause::Conflict => Failure::new(
            Kind::Conflict,
            format!("{api} met something that exists and differs"),
            "Look at it in AWS, and remove or rename it.",
        ),
        Cause::Condition => Failure::busy(format!("{api} lost a race"), 1),
        Cause::Refused => Failure::new(
            Kind::Invalid,
            format!("AWS refused the request ({api})"),
            "See the reason in the function's log.",
        ),
    }
    .operator(operator)
}

/// A failure as the Lambda runtime reports it: its kind is the `errorType`, and
/// the remedy is in the message, where an invoker has nothing else to read.
#[derive(Debug)]
pub struct Reported(pub Failure);

impl From<Failure> for Reported {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl From<Reported> for Diagnostic {
    fn from(Reported(failure): Reported) -> Self {
        Self {
            error_type: failure.kind.name().to_owned(),
            error_message: format!("{failure}. {}", failure.remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoker_reads_the_field_the_reason_and_the_remedy_and_nothing_more() {
        let failure = Failure::invalid("thingName", "it is empty", "Give one.").operator("secret");
        let diagnostic = Diagnostic::from(Reported(failure));
        assert_eq!(diagnostic.error_type, "Invalid");
        assert_eq!(
            diagnostic.error_message,
            "Invalid: thingName: it is empty. Give one."
        );
    }
}
