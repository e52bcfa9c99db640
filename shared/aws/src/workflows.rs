//! Step Functions: executions that are started once, and waits that are ended.

use aws_sdk_sfn::Client;
use lamplighter_domain::{Failure, Kind};

use crate::failure::{self, Cause};

/// Starts an execution under the first of these names that none has had yet.
/// Where all have had one, nothing is started.
pub(crate) async fn start(
    sfn: &Client,
    workflow_arn: &str,
    names: impl IntoIterator<Item = String>,
    input: &str,
) -> Result<(), Failure> {
    for name in names {
        let answer = sfn
            .start_execution()
            .state_machine_arn(workflow_arn)
            .name(name)
            .input(input)
            .send()
            .await;
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if failure::cause(&error) == Cause::Conflict => {}
            Err(error) => {
                let mut failure = failure::of("states:StartExecution", &error);
                // No caller has named the workflow: the stack has.
                if failure.kind == Kind::NotFound {
                    failure.kind = Kind::Denied;
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Ends a workflow's wait. A token that waits no more is none of ours any more
/// either.
pub(crate) async fn wake(sfn: &Client, token: &str) -> Result<(), Failure> {
    let answer = sfn
        .send_task_success()
        .task_token(token)
        .output("{}")
        .send()
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(|e| {
                e.is_task_timed_out() || e.is_task_does_not_exist() || e.is_invalid_token()
            }) =>
        {
            Ok(())
        }
        Err(error) if failure::cause(&error) == Cause::NotFound => Ok(()),
        Err(error) => Err(failure::of("states:SendTaskSuccess", &error)),
    }
}
