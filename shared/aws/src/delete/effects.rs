//! Carries out what the domain decided, a stage at a time.

use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::delete::{Effect, Stage};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;

use super::Deletion;
use super::registry::Held;
use crate::links::{Outcome, carry_out, outcome};

impl Deletion {
    /// Carries the stages out. True if every effect was done.
    pub(super) async fn execute(
        &self,
        held: &mut Held,
        stages: Vec<Stage>,
        until: Moment,
    ) -> Result<bool, Failure> {
        let name = held.operation.thing_name.clone();
        let dropping = stages
            .iter()
            .position(|stage| stage.contains(&Effect::CloseConnection));
        let progress = carry_out(stages, until, async |effect| {
            self.perform(&name, effect).await
        })
        .await?;
        held.progress.session_dropped |= dropping.is_some_and(|stage| stage < progress.stages);
        if progress.hindrance.is_some() {
            held.progress.hindrance = progress.hindrance;
        }
        Ok(progress.settled)
    }

    async fn perform(&self, name: &ThingName, effect: Effect) -> Result<Outcome, Failure> {
        match effect {
            Effect::CloseConnection => self.links.close_connection(name).await,
            Effect::DeleteClassicShadow => {
                let answer = self
                    .links
                    .data
                    .delete_thing_shadow()
                    .thing_name(name.as_str())
                    .send()
                    .await;
                outcome("iot:DeleteThingShadow", answer)
            }
            Effect::DeleteNamedShadow(shadow) => {
                let request = self
                    .links
                    .data
                    .delete_thing_shadow()
                    .thing_name(name.as_str());
                outcome(
                    "iot:DeleteThingShadow",
                    request.shadow_name(shadow).send().await,
                )
            }
            Effect::ClearRetained(topic) => {
                // An empty retained message takes the place of the old one, and is none.
                let answer = self
                    .links
                    .data
                    .publish()
                    .topic(topic)
                    .retain(true)
                    .qos(1)
                    .send()
                    .await;
                outcome("iot:Publish", answer)
            }
            Effect::CloseTunnel(tunnel) => self.links.close_tunnel(tunnel).await,
            Effect::CancelExecution(job) => self.links.cancel_execution(name, job).await,
            Effect::Purge(store, versions) => self.links.purge(store, &versions).await,
            Effect::LeaveDynamicGroups => {
                self.leave_dynamic_groups(name).await?;
                Ok(Outcome::Done)
            }
            effect => self.change_registry(name, effect).await,
        }
    }

    /// What AWS IoT's own registry of things and certificates is to forget.
    async fn change_registry(&self, name: &ThingName, effect: Effect) -> Result<Outcome, Failure> {
        let (iot, thing) = (&self.links.iot, name.as_str());
        match effect {
            Effect::Inactivate(id) => {
                let request = iot.update_certificate().certificate_id(id.as_str());
                let answer = request.new_status(CertificateStatus::Inactive).send().await;
                outcome("iot:UpdateCertificate", answer)
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
}
