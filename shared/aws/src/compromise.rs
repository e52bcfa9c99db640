//! Cases of compromise: opened by a report, secured by looking and acting until
//! a look finds nothing left, closed by an operator.
//!
//! Nothing here takes a lease. Every effect only ever takes something away, and
//! names a certificate, a tunnel or a version that no later device has, so two
//! invocations at once do what one would (invariant 6).

mod audit;
mod rows;
mod secure;
mod suspect;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{
    self as domain, Case, CaseStatus, Filed, Filing, Report, Verdict,
};
use lamplighter_domain::delete::certificate_of;
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::names::{CaseId, CertificateId, ThingName};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::links::Links;
use crate::renewal::Renewals;
use crate::table::{Key, Table};
use crate::{clock, query, setup, workflows};

pub use audit::Notifications;

/// How often a report is filed anew while others change the same device.
const ATTEMPTS: u32 = 8;
/// For how long a request goes on before it leaves the rest to the workflow.
const REQUEST_BUDGET: Duration = Duration::from_secs(10);
/// The same for the workflow's call.
const STEP_BUDGET: Duration = Duration::from_secs(30);

/// The clients and settings that cases work with.
pub struct Cases {
    /// The registry.
    pub table: Table,
    /// What leads to all that can act.
    pub links: Links,
    /// What replaces certificates.
    pub renewals: Renewals,
    /// Workflows.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow that goes on while AWS settles.
    pub workflow_arn: String,
    /// The name of the policy that denies everything.
    pub deny_policy: String,
    /// How long a suspected certificate may take to be replaced, in ms.
    pub window_millis: u64,
}

/// What the workflow asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The case.
    pub case_id: CaseId,
}

/// What the workflow is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Answer {
    /// Nothing is left to do for this case.
    Done,
    /// Call again: the device has time left.
    Sleep {
        /// After how many seconds.
        seconds: u64,
    },
    /// The device's time is over, and the certificate is not replaced.
    Overdue,
    /// Call again, for AWS is settling.
    Pending {
        /// After how many seconds.
        seconds: u64,
    },
}

impl Cases {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            table: Table::from_env(sdk)?,
            links: Links::from_env(sdk)?,
            renewals: Renewals::from_env(sdk)?,
            sfn: aws_sdk_sfn::Client::new(sdk),
            workflow_arn: setup::required("COMPROMISE_WORKFLOW_ARN")?,
            deny_policy: setup::required("DENY_POLICY")?,
            window_millis: setup::seconds("SUSPICION_WINDOW_SECONDS")?,
        })
    }

    /// Takes a report in: the case it leads to is open, and as much is done for
    /// it as a request has time for. Reported again, it goes on.
    pub async fn report(
        &self,
        name: &ThingName,
        report: &Report,
        by: &str,
    ) -> Result<Case, Failure> {
        let case = self.file(name, report, by).await?;
        self.start(&case).await?;
        match case.verdict {
            Verdict::Confirmed => self.secure(case, REQUEST_BUDGET).await,
            Verdict::Suspected => {
                self.replace(&case).await?;
                Ok(case)
            }
        }
    }

    /// Opens a case, or finds the one that is open.
    async fn file(&self, name: &ThingName, report: &Report, by: &str) -> Result<Case, Failure> {
        for _ in 0..ATTEMPTS {
            let rows = self.rows(name).await?;
            let device = rows
                .record
                .as_ref()
                .ok_or_else(|| DeviceRecord::absent(name))?;
            let attached = match &report.certificate_id {
                Some(_) => self.attached(name).await?,
                None => BTreeSet::new(),
            };
            let certificate = domain::reported(report, device, &rows.certificates, &attached)?;
            let open = self.open_case(device).await?;
            let filing = Filing {
                by,
                at: clock::now(),
                window_millis: self.window_millis,
            };
            let id = clock::case_id();
            let filed = domain::file(report, certificate, device, open.as_ref(), id, filing)?;
            let written = match filed {
                Filed::Known(case) => return Ok(*case),
                Filed::Opened(case) => self.open(device, *case).await?,
                Filed::Confirmed(case) => self.confirm(*case).await?,
            };
            if let Some(case) = written {
                tracing::warn!(
                    thing = name.as_str(),
                    case = case.case_id.as_str(),
                    verdict = case.verdict.name(),
                    "a certificate was reported as compromised"
                );
                return Ok(case);
            }
        }
        Err(Failure::busy("the device is changing at this moment", 1).field("thingName"))
    }

    async fn attached(&self, name: &ThingName) -> Result<BTreeSet<CertificateId>, Failure> {
        let principals = self.links.principals(name).await?;
        Ok(principals
            .iter()
            .filter_map(|principal| certificate_of(principal))
            .collect())
    }

    async fn open_case(&self, device: &DeviceRecord) -> Result<Option<Case>, Failure> {
        match &device.case_id {
            Some(id) => self.case(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// A case by its id.
    pub async fn case(&self, id: &CaseId) -> Result<Case, Failure> {
        let case = self.table.get(&Key::case(id)).await?;
        case.ok_or_else(|| query::no_case(id))
    }

    /// Closes a case for an operator.
    pub async fn close(&self, id: &CaseId, by: &str) -> Result<Case, Failure> {
        for _ in 0..ATTEMPTS {
            let before = self.case(id).await?;
            let after = before.clone().close(by, clock::now())?;
            if after == before {
                return Ok(after);
            }
            if let Some(case) = self.closed(after).await? {
                return Ok(case);
            }
        }
        Err(Failure::busy("the case is changing at this moment", 1))
    }

    /// One call by the workflow. It may come twice, late, or beside another.
    pub async fn step(&self, step: &Step) -> Result<Answer, Failure> {
        let case = self.case(&step.case_id).await?;
        match case.verdict {
            // Whatever the device has by now, it has had since.
            Verdict::Confirmed if case.status == CaseStatus::Closed => Ok(Answer::Done),
            Verdict::Confirmed => {
                let case = self.secure(case, STEP_BUDGET).await?;
                Ok(match case.secured_at {
                    Some(_) => Answer::Done,
                    None => Answer::Pending { seconds: 5 },
                })
            }
            Verdict::Suspected => self.look_after(case).await,
        }
    }

    /// Sees to it that the workflow runs. An execution is named by its case and
    /// verdict, so that it runs once; when a report is repeated, another may
    /// take over from one that has failed.
    async fn start(&self, case: &Case) -> Result<(), Failure> {
        let input = json!({ "caseId": case.case_id }).to_string();
        let name = format!("{}-{}", case.case_id, case.verdict.name());
        let names = [name.clone(), format!("{name}-{}", case.version)];
        workflows::start(&self.sfn, &self.workflow_arn, names, &input).await
    }
}
