//! AWS IoT's certificates, once they exist: put out of force, and removed.

use aws_sdk_iot::Client;
use aws_sdk_iot::operation::update_certificate::UpdateCertificateError;
use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::names::CertificateId;

use crate::describe::found;
use crate::failure::{self, Cause};

/// Puts a certificate out of force. Absent is success, and so is one that has
/// been revoked, whoever did that: "Once a certificate is revoked, its status
/// can't be changed" ("Revoke a client certificate", AWS IoT Core Developer
/// Guide).
pub async fn deactivate(iot: &Client, id: &CertificateId) -> Result<(), Failure> {
    let answer = iot
        .update_certificate()
        .certificate_id(id.as_str())
        .new_status(CertificateStatus::Inactive)
        .send()
        .await;
    match answer {
        Err(error)
            if error
                .as_service_error()
                .is_some_and(UpdateCertificateError::is_certificate_state_exception) =>
        {
            Ok(())
        }
        answer => found("iot:UpdateCertificate", answer).map(drop),
    }
}

/// Whether somebody has revoked it.
pub async fn is_revoked(iot: &Client, id: &CertificateId) -> Result<bool, Failure> {
    let answer = iot
        .describe_certificate()
        .certificate_id(id.as_str())
        .send()
        .await;
    let found = found("iot:DescribeCertificate", answer)?;
    let described = found.and_then(|answer| answer.certificate_description);
    Ok(described.is_some_and(|seen| seen.status == Some(CertificateStatus::Revoked)))
}

/// Removes a certificate that is out of force and attached to nothing. Absent
/// is success.
///
/// # Errors
/// `Busy` while AWS is still detaching it, which it does in its own time.
pub async fn delete(iot: &Client, id: &CertificateId) -> Result<(), Failure> {
    let answer = iot
        .delete_certificate()
        .certificate_id(id.as_str())
        .send()
        .await;
    match answer {
        Err(error) if failure::cause(&error) == Cause::Conflict => {
            Err(Failure::busy("AWS is still detaching the certificate", 2))
        }
        answer => found("iot:DeleteCertificate", answer).map(drop),
    }
}
