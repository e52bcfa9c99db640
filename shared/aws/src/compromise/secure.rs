//! Securing a device: look at all that can act, act, look again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{self as domain, Case, DenySeen, Effect, Seen};
use lamplighter_domain::custody;
use lamplighter_domain::delete::certificate_of;
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::rotation::Phase;
use serde_json::json;
use tokio::time::Instant;
use tokio::try_join;

use super::Cases;
use super::rows::Rows;
use crate::clock;
use crate::failure::{self, Cause};
use crate::links::{Outcome, absent, all_pages, at_once, carry_out, outcome};

/// No effect starts later than this after a look.
const EFFECTS_MILLIS: u64 = 6_000;
/// Between rounds, while AWS settles.
const PAUSE: Duration = Duration::from_millis(500);

impl Cases {
    /// Works until a look finds nothing left, or the time is over; records what
    /// the last look found.
    pub(super) async fn secure(&self, mut case: Case, budget: Duration) -> Result<Case, Failure> {
        let started = Instant::now();
        for round in 1.. {
            let seen = Box::pin(self.look(&case)).await?;
            case.certificates.extend(seen.certificates.keys().cloned());
            let stages = domain::effects(&seen, &case);
            let over = started.elapsed() > budget;
            if stages.is_empty() || over {
                let found = domain::found(&seen, &case);
                return self.record(case.observed(found, clock::now())).await;
            }
            let until = clock::now().plus_millis(EFFECTS_MILLIS);
            let dropping = stages
                .iter()
                .position(|stage| stage.contains(&Effect::CloseConnection));
            let name = case.thing_name.clone();
            let progress =
                carry_out(stages, until, async |effect| self.act(&name, effect).await).await?;
            case.session_dropped |= dropping.is_some_and(|stage| stage < progress.stages);
            case.hindrance = progress.hindrance;
            if !progress.settled || round > 1 {
                tokio::time::sleep(PAUSE * round.min(6)).await;
            }
        }
        Ok(case)
    }

    /// Writes what was found. Another invocation at the same case found as much.
    async fn record(&self, case: Case) -> Result<Case, Failure> {
        match self.save(case.clone()).await? {
            Some(case) => Ok(case),
            None => self.case(&case.case_id).await,
        }
    }

    /// Looks at everything of the device that can act. Of a device that has
    /// been deleted only its certificates are left; one made anew under the
    /// name is another device, and one whose case was closed meanwhile may have
    /// been enrolled since.
    async fn look(&self, case: &Case) -> Result<Seen, Failure> {
        let name = &case.thing_name;
        let rows = self.rows(name).await?;
        if !rows
            .record
            .as_ref()
            .is_some_and(|device| case.is_about(device) && case.labels(device))
        {
            return self.look_at_what_remains(case).await;
        }
        let prefix = custody::prefix(name);
        let (principals, executions, tunnels, connected, versions, replica, made) = try_join!(
            self.links.principals(name),
            self.links.executions(name),
            self.links.open_tunnels(name),
            self.links.connected(name),
            self.links.custody.versions(&prefix),
            self.links.replicas(&prefix),
            self.half_made(name, &rows),
        )?;
        let ours: BTreeSet<_> = rows
            .certificates
            .iter()
            .map(|row| row.certificate_id.clone())
            .chain(made)
            .chain([case.certificate_id.clone()])
            .collect();
        let attached = principals.iter().filter_map(|arn| certificate_of(arn));
        let ids: BTreeSet<_> = attached
            .chain(ours.iter().cloned())
            .chain(case.certificates.iter().cloned())
            .collect();
        Ok(Seen {
            thing_name: name.clone(),
            certificates: self.certificates(ids, &rows, &ours).await?,
            rotating: rows.rotation.is_some_and(|row| !row.phase.ended()),
            executions,
            tunnels,
            connected,
            versions,
            replica,
        })
    }

    async fn look_at_what_remains(&self, case: &Case) -> Result<Seen, Failure> {
        let ids = case.certificates.clone();
        let ours = BTreeSet::from([case.certificate_id.clone()]);
        Ok(Seen {
            thing_name: case.thing_name.clone(),
            certificates: self.certificates(ids, &Rows::default(), &ours).await?,
            rotating: false,
            executions: BTreeSet::new(),
            tunnels: BTreeSet::new(),
            connected: false,
            versions: BTreeSet::new(),
            replica: None,
        })
    }

    /// What a rotation that was ended may have made, on record or not.
    async fn half_made(
        &self,
        name: &ThingName,
        rows: &Rows,
    ) -> Result<BTreeSet<CertificateId>, Failure> {
        let fenced = rows.rotation.as_ref();
        let mint = fenced
            .filter(|rotation| rotation.phase == Phase::Fenced)
            .and_then(|rotation| Some(rotation.new.as_ref()?.mint.clone()));
        self.links.half_made(name, mint).await
    }

    async fn certificates(
        &self,
        ids: BTreeSet<CertificateId>,
        rows: &Rows,
        ours: &BTreeSet<CertificateId>,
    ) -> Result<BTreeMap<CertificateId, DenySeen>, Failure> {
        let looks = ids.into_iter().map(async |id| {
            let certificate = self.links.certificate(&id).await?;
            let denied = !certificate.arn.is_empty() && self.is_denied(&certificate.arn).await?;
            let mut record = rows.certificates.iter();
            let seen = DenySeen {
                denied,
                marked: record
                    .find(|row| row.certificate_id == id)
                    .is_none_or(|row| row.revoked_at.is_some()),
                ours: ours.contains(&id),
                certificate,
            };
            Ok((id, seen))
        });
        at_once(looks).await.into_iter().collect()
    }

    async fn is_denied(&self, arn: &str) -> Result<bool, Failure> {
        let request = self.links.iot.list_attached_policies().target(arn);
        let names: Result<BTreeSet<String>, Failure> =
            all_pages!("iot:ListAttachedPolicies", request, policies, |policy| {
                policy.policy_name.clone()
            });
        Ok(names?.contains(&self.deny_policy))
    }

    async fn act(&self, name: &ThingName, effect: Effect) -> Result<Outcome, Failure> {
        match effect {
            Effect::EndRotation => self.end_rotation(name).await,
            Effect::Mark(id) => self.mark(name, &id).await,
            Effect::Revoke(id) => {
                let request = self.links.iot.update_certificate();
                let request = request.certificate_id(id.as_str());
                let answer = request.new_status(CertificateStatus::Revoked).send().await;
                outcome("iot:UpdateCertificate", answer)
            }
            Effect::CloseConnection => self.links.close_connection(name).await,
            Effect::Deny(arn) => self.deny(&arn).await,
            Effect::CloseTunnel(tunnel) => self.links.close_tunnel(tunnel).await,
            Effect::CancelExecution(job) => self.links.cancel_execution(name, job).await,
            Effect::Purge(store, versions) => self.links.purge(store, &versions).await,
        }
    }

    /// Attaches the deny policy, which the first case of an account makes.
    async fn deny(&self, arn: &str) -> Result<Outcome, Failure> {
        let attach = || {
            let request = self.links.iot.attach_policy().target(arn);
            request.policy_name(&self.deny_policy).send()
        };
        match attach().await {
            Err(error) if failure::cause(&error) == Cause::NotFound => {
                self.create_deny_policy().await?;
                outcome("iot:AttachPolicy", attach().await)
            }
            answer => outcome("iot:AttachPolicy", answer),
        }
    }

    async fn create_deny_policy(&self) -> Result<(), Failure> {
        let document = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}],
        });
        let answer = self
            .links
            .iot
            .create_policy()
            .policy_name(&self.deny_policy)
            .policy_document(document.to_string())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::Conflict => Ok(()),
            Err(error) => Err(failure::of("iot:CreatePolicy", &error)),
        }
    }
}
