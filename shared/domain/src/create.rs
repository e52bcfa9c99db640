//! Creation, as a plan of five rounds.

use serde::{Deserialize, Serialize};

use crate::csr::PublicKeyId;
use crate::device::Custody;
use crate::names::{CertificateId, OperationId};
use crate::request::CreateRequest;
use crate::time::Moment;

/// Everything a creation will do, decided before anything is done. The claim
/// persists it, so that whoever finds it half done can go on or undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatePlan {
    /// The operation.
    pub operation_id: OperationId,
    /// What is asked for, the default group filled in.
    pub request: CreateRequest,
    /// Who holds the key.
    pub custody: Custody,
    /// The custody bucket's key for it, with custody `vault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_object: Option<String>,
}

/// How far the minting of a certificate has come: the one step that cannot be
/// repeated, so its intent stands in the registry before it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mint {
    /// Since when a certificate may exist.
    pub intended_at: Moment,
    /// For which key.
    pub public_key: PublicKeyId,
    /// The certificate, once its id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
}
