//! Carries out what the domain decided, a stage at a time.

use aws_sdk_iot::types::CertificateStatus;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;
use lamplighter_domain::delete::{Effect, Stage, Store};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;

use super::registry::Held;
use super::{Deletion, at_once};
use crate::clock;
use crate::failure::{self, Cause};

/// What came of one effect.
#[derive(Debug)]
pub(super) enum Outcome {
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

impl Deletion {
    /// Carries the stages out. True if every effect was done.
    pub(super) async fn execute(
        &self,
        held: &mut Held,
        stages: Vec<Stage>,
        until: Moment,
    ) -> Result<bool, Failure> {
        let name = held.operation.thing_name.clone();
        let mut settled = true;
        for stage in stages {
            let drops_session = stage.contains(&Effect::CloseConnection);
            let calls = stage.into_iter().map(async |effect| {
                if clock::now() > until {
                    return Ok(Outcome::NotStarted);
                }
                tracing::debug!(?effect, "effect");
                self.perform(&name, effect).await
            });
            // Every call of the stage ends before a failure of one is answered:
            // nothing may be under way when the lease is given back.
            let mut stop = false;
            for outcome in at_once(calls).await {
                match outcome? {
                    Outcome::Done => {}
                    Outcome::Settling(failure) => {
                        tracing::info!(reason = failure.operator, "AWS is settling");
                        held.progress.hindrance = Some(failure);
                        settled = false;
                    }
                    Outcome::Later(failure) => {
                        held.progress.hindrance = Some(failure);
                        stop = true;
                    }
                    Outcome::NotStarted => stop = true,
                }
            }
            if stop {
                return Ok(false);
            }
            held.progress.session_dropped |= drops_session;
        }
        Ok(settled)
    }

    async fn perform(&self, name: &ThingName, effect: Effect) -> Result<Outcome, Failure> {
        match effect {
            Effect::CloseConnection => self.close_connection(name).await,
            Effect::DeleteClassicShadow => {
                let answer = self
                    .data
                    .delete_thing_shadow()
                    .thing_name(name.as_str())
                    .send()
                    .await;
                outcome("iot:DeleteThingShadow", answer)
            }
            Effect::DeleteNamedShadow(shadow) => {
                let request = self.data.delete_thing_shadow().thing_name(name.as_str());
                outcome(
                    "iot:DeleteThingShadow",
                    request.shadow_name(shadow).send().await,
                )
            }
            Effect::ClearRetained(topic) => {
                // An empty retained message takes the place of the old one, and is none.
                let answer = self
                    .data
                    .publish()
                    .topic(topic)
                    .retain(true)
                    .qos(1)
                    .send()
                    .await;
                outcome("iot:Publish", answer)
            }
            Effect::CloseTunnel(tunnel) => {
                let answer = self
                    .tunnels
                    .close_tunnel()
                    .tunnel_id(tunnel)
                    .delete(true)
                    .send()
                    .await;
                outcome("iot:CloseTunnel", answer)
            }
            Effect::Purge(Store::Custody, versions) => self.custody.purge(&versions).await,
            Effect::Purge(Store::Replica, versions) => match &self.replica {
                Some(bucket) => bucket.purge(&versions).await,
                None => Err(Failure::bug("a replica was seen where none is configured")),
            },
            effect => self.change_registry(name, effect).await,
        }
    }

    /// What AWS IoT's own registry of things and certificates is to forget.
    async fn change_registry(&self, name: &ThingName, effect: Effect) -> Result<Outcome, Failure> {
        let (iot, thing) = (&self.iot, name.as_str());
        match effect {
            Effect::Inactivate(id) => {
                let request = iot.update_certificate().certificate_id(id.as_str());
                let answer = request.new_status(CertificateStatus::Inactive).send().await;
                outcome("iot:UpdateCertificate", answer)
            }
            Effect::CancelExecution(job) => {
                let request = iot.cancel_job_execution().job_id(job).thing_name(thing);
                outcome("iot:CancelJobExecution", request.force(true).send().await)
            }
            Effect::Detach(principal) => {
                let request = iot.detach_thing_principal().thing_name(thing);
                outcome(
                    "iot:DetachThingPrincipal",
                    request.principal(principal).send().await,
                )
            }
            Effect::DeleteCertificate(id) => {
                // The certificate is INACTIVE and ours alone, so the policies that
                // hang on it go with it; AWS still refuses while a thing has it.
                let request = iot.delete_certificate().certificate_id(id.as_str());
                outcome(
                    "iot:DeleteCertificate",
                    request.force_delete(true).send().await,
                )
            }
            Effect::LeaveGroup(group) => {
                let request = iot.remove_thing_from_thing_group().thing_name(thing);
                let answer = request.thing_group_name(group).send().await;
                outcome("iot:RemoveThingFromThingGroup", answer)
            }
            Effect::DeleteThing => outcome(
                "iot:DeleteThing",
                iot.delete_thing().thing_name(thing).send().await,
            ),
            other => Err(Failure::bug(format!(
                "{other:?} is not for AWS IoT's registry"
            ))),
        }
    }

    /// The last will is held back: a device that is being deleted should leave
    /// no message, retained least of all.
    async fn close_connection(&self, name: &ThingName) -> Result<Outcome, Failure> {
        let request = self.data.delete_connection().client_id(name.as_str());
        let answer = request
            .clean_session(true)
            .prevent_will_message(true)
            .send()
            .await;
        outcome("iot:DeleteConnection", answer)
    }
}

/// What came of a call that removes something. What is gone already is done.
pub(super) fn outcome<T, E>(
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
