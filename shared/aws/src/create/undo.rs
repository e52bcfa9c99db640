//! Takes a creation back: newest first, whatever became of each step.

use lamplighter_domain::create::{CreatePlan, Step};
use lamplighter_domain::operation::Operation;
use lamplighter_domain::{Failure, Kind};

use super::{Created, Creator};
use crate::clock;
use crate::issuer::{self, Minted};

impl Creator {
    /// Undoes what the operation did or may have done, then says why.
    pub(super) async fn undo(
        &self,
        plan: &CreatePlan,
        operation: &Operation,
        failure: Failure,
    ) -> Result<Created, Failure> {
        self.claims.begin_undo(operation, &failure).await?;
        let made = self.made(operation).await?;
        for step in plan.undo() {
            let undone = self.undo_step(&step, plan, &made).await;
            match undone {
                Ok(()) => {}
                Err(busy) if busy.kind.retryable() => return Err(busy),
                Err(stuck) => {
                    self.claims.stuck(operation, &stuck, clock::now()).await?;
                    return Err(Failure::new(
                        Kind::Stuck,
                        format!("the creation failed ({failure}) and could not be undone"),
                        "Delete the device; if that fails too, see the operation.",
                    )
                    .operator(format!("undoing {step:?}: {}", stuck.operator)));
                }
            }
        }
        self.refuse(operation, failure).await
    }

    /// The certificates that the operation made, or may have made.
    async fn made(&self, operation: &Operation) -> Result<Vec<Minted>, Failure> {
        // Read afresh: this very invocation may have recorded the intent.
        let recorded = self.claims.operation(&operation.operation_id).await?;
        let Some(mint) = recorded.and_then(|operation| operation.mint) else {
            return Ok(Vec::new());
        };
        issuer::made(&self.things.iot, &operation.thing_name, &mint).await
    }

    /// Undoes one step, as far as it was this operation's doing: a thing that
    /// somebody else has made meanwhile, and what is attached to it, stays.
    async fn undo_step(
        &self,
        step: &Step,
        plan: &CreatePlan,
        made: &[Minted],
    ) -> Result<(), Failure> {
        let name = &plan.request.thing_name;
        match step {
            Step::Attach => {
                for certificate in made {
                    self.things
                        .detach(name, &certificate.certificate_arn)
                        .await?;
                }
                Ok(())
            }
            Step::Mint => {
                for certificate in made {
                    issuer::discard(&self.things.iot, &certificate.certificate_id).await?;
                }
                Ok(())
            }
            Step::CreateThing => {
                let ours: Vec<_> = made
                    .iter()
                    .map(|made| made.certificate_arn.as_str())
                    .collect();
                self.things.delete_as_planned(&plan.request, &ours).await
            }
            Step::StoreKey => match &plan.key_object {
                Some(object) => self.vault.purge(object).await,
                None => Ok(()),
            },
            Step::IntendMint | Step::JoinGroup(_) | Step::RecordCertificate | Step::Commit => {
                Ok(())
            }
        }
    }
}
