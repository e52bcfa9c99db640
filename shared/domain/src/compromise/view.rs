//! A case as a caller is shown it: without what is meant for the operator.

use serde::Serialize;

use super::{Case, CaseStatus, Verdict};
use crate::delete::ProofLine;
use crate::names::{CaseId, CertificateId, ThingName};
use crate::time::Moment;

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseView<'a> {
    case_id: &'a CaseId,
    thing_name: &'a ThingName,
    verdict: Verdict,
    status: CaseStatus,
    certificate_id: &'a CertificateId,
    reason: &'a str,
    reported_by: &'a str,
    opened_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overdue_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secured_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hindrance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    found: &'a [ProofLine],
}

impl<'a> CaseView<'a> {
    /// The case as the caller sees it.
    pub fn new(case: &'a Case) -> Self {
        Self {
            case_id: &case.case_id,
            thing_name: &case.thing_name,
            verdict: case.verdict,
            status: case.status,
            certificate_id: &case.certificate_id,
            reason: &case.reason,
            reported_by: &case.reported_by,
            opened_at: case.opened_at,
            deadline: case.deadline,
            replaced_at: case.replaced_at,
            overdue_at: case.overdue_at,
            secured_at: case.secured_at,
            hindrance: case
                .hindrance
                .as_ref()
                .map(|failure| failure.reason.as_str()),
            closed_at: case.closed_at,
            closed_by: case.closed_by.as_deref(),
            found: &case.found,
        }
    }
}
