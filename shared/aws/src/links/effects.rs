//! Carries decided effects out, a stage at a time, and cuts what both
//! deletions and cases cut.

use lamplighter_domain::Failure;
use lamplighter_domain::delete::{ObjectVersion, Store};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;

use super::{Links, at_once};
use crate::clock;
use crate::outcome::{Outcome, outcome};

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
