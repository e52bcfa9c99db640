//! AWS IoT's certificates, once they exist: put out of force, and removed.

use aws_sdk_iot::Client;
use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::names::CertificateId;

use crate::describe::found;
use crate::failure::{self, Cause};

/// Puts a certificate out of force. Absent is success.
pub async fn deactivate(iot: &Client, id: &CertificateId) -> Result<(), Failure> {
    let answer = iot
        .update_certificate()
        .certificate_id(id.as_str())
        .new_status(CertificateStatus::Inactive)
        .send()
        .await;
    found("iot:UpdateCertificate", answer).map(drop)
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
