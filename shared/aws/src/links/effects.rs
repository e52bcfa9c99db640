//! Carries decided effects out, a stage at a time, and cuts what both
//! deletions and cases cut.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;
use lamplighter_domain::delete::{ObjectVersion, Store};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;

use super::{Links, at_once};
use crate::clock;
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

/// How far the stages have come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How many stages were carried out to their end.
    pub(crate) stages: usize,
    /// Whether every effect of these was done.
    pub(crate) settled: bool,
    /// The last refusal.
    pub(crate) hindrance: Option<Failure>,
}

/// Carries stages out, none of whose effects starts after `until`; one that
/// does not come to its end is the last.
pub(crate) async fn carry_out<E: std::fmt::Debug>(
    stages: Vec<Vec<E>>,
    until: Moment,
    perform: impl AsyncFn(E) -> Result<Outcome, Failure>,
) -> Result<Progress, Failure> {
    let mut progress = Progress {
        settled: true,
        ..Progress::default()
    };
    for stage in stages {
        let calls = stage.into_iter().map(async |effect| {
            if clock::now() > until {
                return Ok(Outcome::NotStarted);
            }
            tracing::debug!(?effect, "effect");
            perform(effect).await
        });
        // Every call of the stage ends before a failure of one is answered:
        // nothing may be under way when the lease is given back.
        let mut stop = false;
        for outcome in at_once(calls).await {
            match outcome? {
                Outcome::Done => {}
                Outcome::Settling(failure) => {
                    tracing::info!(reason = failure.operator, "AWS is settling");
                    progress.hindrance = Some(failure);
                    progress.settled = false;
                }
                Outcome::Later(failure) => {
                    progress.hindrance = Some(failure);
                    stop = true;
                }
                Outcome::NotStarted => stop = true,
            }
        }
        if stop {
            progress.settled = false;
            return Ok(progress);
        }
        progress.stages += 1;
    }
    Ok(progress)
}

impl Links {
    /// Closes the connection and drops the session behind it. The last will is
    /// held back: a device that is being cut off should leave no message,
    /// retained least of all.
    pub(crate) async fn close_connection(&self, name: &ThingName) -> Result<Outcome, Failure> {
        let request = self.data.delete_connection().client_id(name.as_str());
        let answer = request
            .clean_session(true)
            .prevent_will_message(true)
            .send()
            .await;
        outcome("iot:DeleteConnection", answer)
    }

    /// Closes a tunnel.
    pub(crate) async fn close_tunnel(&self, tunnel: String) -> Result<Outcome, Failure> {
        let request = self.tunnels.close_tunnel().tunnel_id(tunnel);
        outcome("iot:CloseTunnel", request.delete(true).send().await)
    }

    /// Cancels the execution of a job for this thing.
    pub(crate) async fn cancel_execution(
        &self,
        name: &ThingName,
        job: String,
    ) -> Result<Outcome, Failure> {
        let request = self.iot.cancel_job_execution().job_id(job);
        let answer = request.thing_name(name.as_str()).force(true).send().await;
        outcome("iot:CancelJobExecution", answer)
    }

    /// Deletes versions of key objects for good.
    pub(crate) async fn purge(
        &self,
        store: Store,
        versions: &[ObjectVersion],
    ) -> Result<Outcome, Failure> {
        match (store, &self.replica) {
            (Store::Custody, _) => self.custody.purge(versions).await,
            (Store::Replica, Some(bucket)) => bucket.purge(versions).await,
            (Store::Replica, None) => {
                Err(Failure::bug("a replica was seen where none is configured"))
            }
        }
    }
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
