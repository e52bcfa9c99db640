//! Compromise: a certificate that somebody else may be able to use.
//!
//! *Suspected*, it is replaced first, with a deadline; a light is never cut off
//! on suspicion. *Confirmed*, it is put out of force at once, together with
//! every other certificate of the device: what was asked for with a certificate
//! that somebody else holds is no better than that certificate. Either opens a
//! case, one a device at a time, which an operator closes. A certificate of a
//! confirmed case stays REVOKED, and is not deleted before it would expire.
//!
//! Securing is a reconciler, as deletion is: what is seen in, what is to be
//! done out, and the look that finds nothing left is what the case records.

pub mod audit;
mod secure;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::delete::ProofLine;
use crate::device::{CertificateRecord, DeviceRecord, DeviceStatus};
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::names::{CaseId, CertificateId, OperationId, ThingName};
use crate::time::Moment;

pub use secure::{DenySeen, Effect, Seen, Stage, effects, found};
pub use view::CaseView;

/// The longest reason, in characters: it is shown in lists and logs.
const LONGEST_REASON: usize = 500;

/// What a report says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Somebody else may hold it.
    Suspected,
    /// Somebody else holds it.
    Confirmed,
}

impl Verdict {
    /// The verdict as the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Confirmed => "confirmed",
        }
    }
}

/// What somebody reports of a device's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The certificate; without it, the one that the device has.
    pub certificate_id: Option<CertificateId>,
    /// How sure it is.
    pub verdict: Verdict,
    /// Why, for whoever looks at the case.
    pub reason: String,
}

impl Report {
    /// Reads a request's body.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let remedy = "Send {\"verdict\": \"suspected\" or \"confirmed\", \"reason\": …, \"certificateId\"?: …}.";
        let mut fields = Fields::parse(body, remedy)?;
        let certificate_id = fields.text("certificateId")?;
        let report = Self {
            certificate_id: certificate_id
                .as_deref()
                .map(CertificateId::parse)
                .transpose()?,
            verdict: match fields.required_text("verdict")?.as_str() {
                "suspected" => Verdict::Suspected,
                "confirmed" => Verdict::Confirmed,
                _ => {
                    let reason = "a verdict is suspected or confirmed";
                    return Err(Failure::invalid("verdict", reason, remedy));
                }
            },
            reason: fields.required_text("reason")?,
        };
        fields.end()?;
        let length = report.reason.trim().chars().count();
        if length == 0 || length > LONGEST_REASON {
            return Err(Failure::invalid(
                "reason",
                format!("a reason has 1 to {LONGEST_REASON} characters, not {length}"),
                "Say in a sentence what was seen.",
            ));
        }
        Ok(report)
    }
}

/// Whether somebody still has to look at a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CaseStatus {
    /// Nobody has closed it.
    Open,
    /// An operator has.
    Closed,
}

/// `CASE#id / CASE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Its id.
    pub case_id: CaseId,
    /// The device.
    pub thing_name: ThingName,
    /// The creation of the device: a later one under the name is another device.
    pub created_by: OperationId,
    /// What was reported; a confirmation of a suspicion is the same case.
    pub verdict: Verdict,
    /// The certificate that was reported.
    pub certificate_id: CertificateId,
    /// Every certificate that was ever seen to be the device's in this case.
    pub certificates: BTreeSet<CertificateId>,
    /// Why.
    pub reason: String,
    /// Who reported it: a caller's ARN, or the audit.
    pub reported_by: String,
    /// Whether it is open.
    pub status: CaseStatus,
    /// When it was opened.
    pub opened_at: Moment,
    /// A suspicion: until when the certificate is to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Moment>,
    /// A suspicion: when the certificate was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_at: Option<Moment>,
    /// Whether the device's MQTT session has been dropped, which no look shows.
    #[serde(default)]
    pub session_dropped: bool,
    /// A suspicion: when the deadline had passed and it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_at: Option<Moment>,
    /// A confirmation: what the last look found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<ProofLine>,
    /// A confirmation: when a look first found that nothing can act any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secured_at: Option<Moment>,
    /// What hindered it last, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<Failure>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Moment>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// Counts the row's changes.
    pub version: u64,
}

/// How a suspicion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The certificate is the device's no more.
    Replaced,
    /// An operator has closed the case.
    Closed,
    /// It is not replaced, and the deadline has passed. It stays in force: no
    /// light is cut off on suspicion.
    Overdue,
    /// Look again after so many ms.
    Waiting(u64),
}

/// How soon at the least, and how late at the most, a suspicion is looked at
/// again, in ms: the older it is, the later.
const LOOK_AGAIN_MILLIS: (u64, u64) = (3_000, 30 * 60 * 1000);

/// What is to become of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filed {
    /// A new case.
    Opened(Box<Case>),
    /// The open case, confirmed by this report.
    Confirmed(Box<Case>),
    /// The open case says as much already.
    Known(Box<Case>),
}

/// Who reports, and when.
#[derive(Clone, Copy, Debug)]
pub struct Filing<'a> {
    /// A caller's ARN, or the audit.
    pub by: &'a str,
    /// When.
    pub at: Moment,
    /// How long a suspected certificate may take to be replaced, in ms.
    pub window_millis: u64,
}

/// The certificate that a report is about (invariant 5): one that the registry
/// or AWS knows as the device's own.
///
/// # Errors
/// `NotFound` if it is not, or if the device has none.
pub fn reported(
    report: &Report,
    device: &DeviceRecord,
    rows: &[CertificateRecord],
    attached: &BTreeSet<CertificateId>,
) -> Result<CertificateId, Failure> {
    let name = &device.request.thing_name;
    let unknown = |reason: String| {
        Failure::not_found(
            "certificateId",
            reason,
            "Name a certificate of this device, or none for the one that it has.",
        )
    };
    match (&report.certificate_id, &device.certificate_id) {
        (Some(id), _)
            if attached.contains(id) || rows.iter().any(|row| row.certificate_id == *id) =>
        {
            Ok(id.clone())
        }
        (Some(id), _) => Err(unknown(format!("{id} is no certificate of {name}"))),
        (None, Some(id)) => Ok(id.clone()),
        (None, None) => Err(unknown(format!("{name} has no certificate"))),
    }
}

/// Decides what a report leads to. `open` is the device's open case.
///
/// # Errors
/// `Busy` while the device is being created, `Conflict` while it is deleted.
pub fn file(
    report: &Report,
    certificate_id: CertificateId,
    device: &DeviceRecord,
    open: Option<&Case>,
    id: CaseId,
    filing: Filing<'_>,
) -> Result<Filed, Failure> {
    if let Some(open) = open {
        let mut case = open.clone();
        case.certificates.insert(certificate_id);
        if report.verdict <= open.verdict {
            return Ok(Filed::Known(Box::new(open.clone())));
        }
        case.verdict = report.verdict;
        case.reason.clone_from(&report.reason);
        case.deadline = None;
        return Ok(Filed::Confirmed(Box::new(case)));
    }
    match device.status {
        DeviceStatus::Active | DeviceStatus::Stuck => {}
        DeviceStatus::Creating => {
            return Err(Failure::busy("the device is being created", 2).field("thingName"));
        }
        DeviceStatus::Deleting => {
            return Err(Failure::conflict(
                "thingName",
                format!("the device {} is being deleted", device.request.thing_name),
                "Its certificates go with it; wait for the deletion's proof.",
            ));
        }
    }
    let suspected = report.verdict == Verdict::Suspected;
    Ok(Filed::Opened(Box::new(Case {
        case_id: id,
        thing_name: device.request.thing_name.clone(),
        created_by: device.created_by.clone(),
        verdict: report.verdict,
        certificates: BTreeSet::from([certificate_id.clone()]),
        certificate_id,
        reason: report.reason.clone(),
        reported_by: filing.by.to_owned(),
        status: CaseStatus::Open,
        opened_at: filing.at,
        deadline: suspected.then(|| filing.at.plus_millis(filing.window_millis)),
        replaced_at: None,
        overdue_at: None,
        session_dropped: false,
        found: Vec::new(),
        secured_at: None,
        hindrance: None,
        closed_at: None,
        closed_by: None,
        version: 0,
    })))
}

impl Case {
    /// Records what a look found, and that the device is secured if nothing is
    /// left in it.
    #[must_use]
    pub fn observed(mut self, found: Vec<ProofLine>, now: Moment) -> Self {
        if crate::delete::is_clear(&found) {
            self.secured_at = self.secured_at.or(Some(now));
            self.hindrance = None;
        }
        self.found = found;
        self
    }

    /// Closes it for an operator; closed already is closed.
    ///
    /// # Errors
    /// `Conflict` while a confirmed case is not secured.
    pub fn close(mut self, by: &str, now: Moment) -> Result<Self, Failure> {
        if self.status == CaseStatus::Closed {
            return Ok(self);
        }
        if self.verdict == Verdict::Confirmed && self.secured_at.is_none() {
            return Err(Failure::conflict(
                "caseId",
                "the device is not yet cut off for good",
                "Look at what the case found, report it again to go on, and close it once it \
                 is secured.",
            ));
        }
        self.status = CaseStatus::Closed;
        self.closed_at = Some(now);
        self.closed_by = Some(by.to_owned());
        Ok(self)
    }

    /// How a suspicion stands, by the device's record.
    pub fn suspicion(&self, device: Option<&DeviceRecord>, now: Moment) -> Suspicion {
        let same = device.filter(|device| self.is_about(device));
        let has_it =
            same.is_some_and(|device| device.certificate_id.as_ref() == Some(&self.certificate_id));
        let deadline = self.deadline.unwrap_or(now);
        match self.status {
            CaseStatus::Closed => Suspicion::Closed,
            CaseStatus::Open if !has_it => Suspicion::Replaced,
            CaseStatus::Open if now >= deadline => Suspicion::Overdue,
            CaseStatus::Open => {
                let (least, most) = LOOK_AGAIN_MILLIS;
                let later = self.opened_at.until(now).clamp(least, most);
                Suspicion::Waiting(later.min(now.until(deadline)))
            }
        }
    }

    /// Whether this record bears the case's label: it does until the case is
    /// closed.
    pub fn labels(&self, device: &DeviceRecord) -> bool {
        device.case_id.as_ref() == Some(&self.case_id)
    }

    /// Whether this record is of the device that the case is about.
    pub fn is_about(&self, device: &DeviceRecord) -> bool {
        device.created_by == self.created_by
    }
}

/// That a device's certificate may be renewed: nothing renews a revoked one
/// (invariant 5), nor one that a confirmed case has taken out of force.
///
/// # Errors
/// `Conflict` otherwise.
pub fn renewable(
    device: &DeviceRecord,
    certificate: Option<&CertificateRecord>,
) -> Result<(), Failure> {
    let revoked = certificate.is_some_and(|row| row.revoked_at.is_some());
    if device.quarantined_at.is_none() && !revoked {
        return Ok(());
    }
    Err(Failure::conflict(
        "thingName",
        format!(
            "the certificate of {} was compromised and renews nothing",
            device.request.thing_name
        ),
        "Look at the case, close it, and enrol the device anew.",
    ))
}

/// That a device's key may be handed out.
///
/// # Errors
/// `Denied` with 403 while it is quarantined, or once its certificate was revoked.
pub fn may_be_handed_out(
    device: &DeviceRecord,
    certificate: Option<&CertificateRecord>,
) -> Result<(), Failure> {
    renewable(device, certificate).map_err(|failure| {
        Failure::new(
            Kind::Denied,
            "the device's certificate was compromised; its key is handed to nobody",
            failure.remedy,
        )
        .field("thingName")
    })
}
