//! What a caller is shown of a rotation: never the signing request, the
//! workflow's token, or a certificate.

use serde::Serialize;

use super::job::job_id;
use super::{Phase, Rotation};
use crate::device::{Custody, Issuer};
use crate::names::CertificateId;
use crate::time::Moment;

/// How far a rotation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationView<'a> {
    phase: Phase,
    issuer: Issuer,
    /// Who makes the new certificate's key.
    custody: Custody,
    /// The certificate that the device has proved before, in force until the
    /// next one is.
    old_certificate_id: &'a CertificateId,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_certificate_id: Option<&'a CertificateId>,
    /// Until when the device may send its signing request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_before: Option<Moment>,
    /// Until when it may prove the new certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    prove_before: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<Moment>,
    /// The job that carries the word to renew, while it may be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// From when on the old certificate is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_at: Option<Moment>,
}

impl<'a> RotationView<'a> {
    /// A rotation as it stands.
    pub fn new(rotation: &'a Rotation) -> Self {
        let awaited = |phase| (rotation.phase == phase).then_some(rotation.deadline);
        Self {
            phase: rotation.phase,
            issuer: rotation.issuer,
            custody: rotation.custody,
            old_certificate_id: &rotation.old,
            new_certificate_id: rotation.new_id(),
            request_before: awaited(Phase::Requested),
            prove_before: awaited(Phase::Issued),
            proven_at: rotation.proven_at,
            job_id: rotation.by_job().then(|| job_id(&rotation.rotation_id)),
            remove_at: rotation.remove_at,
        }
    }
}
