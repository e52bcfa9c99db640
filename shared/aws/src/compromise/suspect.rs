//! A suspected certificate: replaced first, and never cut off.

use lamplighter_domain::compromise::{Case, Suspicion};
use lamplighter_domain::rotation::{Asked, Reason};
use lamplighter_domain::{Failure, Kind};

use super::{Answer, Cases};
use crate::{clock, telemetry};

impl Cases {
    /// Starts a rotation, or leaves the one that is under way. What the device
    /// makes impossible for now is tried again when the case is looked at next.
    pub(super) async fn replace(&self, case: &Case) -> Result<(), Failure> {
        let name = &case.thing_name;
        let asked = Asked::default();
        let replaced = self.renewals.request(name, &asked, Reason::Suspected);
        match replaced.await {
            Ok(_) => Ok(()),
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Conflict) => {
                telemetry::failed(&failure);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Looks whether the certificate is replaced by now, and what that leads to.
    pub(super) async fn look_after(&self, case: Case) -> Result<Answer, Failure> {
        let device = self.rows(&case.thing_name).await?.record;
        let now = clock::now();
        let standing = case.suspicion(device.as_ref(), now);
        match standing {
            Suspicion::Closed => Ok(Answer::Done),
            Suspicion::Replaced => {
                let replaced_at = case.replaced_at.or(Some(now));
                self.note(Case {
                    replaced_at,
                    ..case
                })
                .await?;
                Ok(Answer::Done)
            }
            Suspicion::Overdue => {
                let overdue_at = case.overdue_at.or(Some(now));
                self.note(Case { overdue_at, ..case }).await?;
                Ok(Answer::Overdue)
            }
            Suspicion::Waiting(millis) => {
                self.replace(&case).await?;
                let seconds = millis.div_ceil(1000).max(1);
                Ok(Answer::Sleep { seconds })
            }
        }
    }

    async fn note(&self, case: Case) -> Result<(), Failure> {
        match self.save(case).await? {
            Some(_) => Ok(()),
            None => Err(Failure::busy("the case is changing at this moment", 1)),
        }
    }
}
