//! What a caller is shown of the registry: never a signing request, where a
//! key lies, or what is meant for the operator.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::create::{CreatePlan, Step};
use crate::delete::ProofLine;
use crate::device::{
    CertificateRecord, Custody, DeviceRecord, DeviceStatus, Issuer, Preregistration, Tombstone,
};
use crate::failure::Failure;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, CaseId, CertificateId, GroupName, OperationId,
    ProfileName, ThingName, ThingTypeName,
};
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::rotation::{Rotation, RotationView};
use crate::time::Moment;
use crate::update::UpdatePlan;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView<'a> {
    thing_name: &'a ThingName,
    status: DeviceStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    thing_type: Option<&'a ThingTypeName>,
    attributes: &'a BTreeMap<AttributeName, AttributeValue>,
    groups: &'a BTreeSet<GroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_group: Option<&'a BillingGroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a ProfileName>,
    custody: Custody,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_id: Option<&'a CertificateId>,
    created_at: Moment,
    version: u64,
    operation_id: &'a OperationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    case_id: Option<&'a CaseId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificates: Option<Vec<CertificateView<'a>>>,
}

/// One certificate of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView<'a> {
    certificate_id: &'a CertificateId,
    certificate_pem: &'a str,
    custody: Custody,
    issuer: Issuer,
    issued_at: Moment,
    not_after: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_handed_out_at: Option<Moment>,
}

impl<'a> DeviceView<'a> {
    /// A device, as a listing shows it.
    pub fn new(device: &'a DeviceRecord) -> Self {
        let request = &device.request;
        Self {
            thing_name: &request.thing_name,
            status: device.status,
            thing_type: request.thing_type.as_ref(),
            attributes: &request.attributes,
            groups: &request.groups,
            billing_group: request.billing_group.as_ref(),
            profile: request.profile.as_ref(),
            custody: device.custody,
            certificate_id: device.certificate_id.as_ref(),
            created_at: device.created_at,
            version: device.version,
            operation_id: &device.operation_id,
            case_id: device.case_id.as_ref(),
            quarantined_at: device.quarantined_at,
            certificates: None,
        }
    }

    /// The same with its certificates.
    #[must_use]
    pub fn with_certificates(mut self, certificates: &'a [CertificateRecord]) -> Self {
        let view = |c: &'a CertificateRecord| CertificateView {
            certificate_id: &c.certificate_id,
            certificate_pem: &c.certificate_pem,
            custody: c.custody,
            issuer: c.issuer,
            issued_at: c.issued_at,
            not_after: c.not_after,
            due_at: c.due_at,
            revoked_at: c.revoked_at,
            key_handed_out_at: c.hand_out.as_ref().map(|hand_out| hand_out.at),
        };
        self.certificates = Some(certificates.iter().map(view).collect());
        self
    }
}

/// Why there is no device of a name, as far as the registry remembers.
pub fn absent(
    name: &ThingName,
    tombstone: Option<&Tombstone>,
    preregistration: Option<&Preregistration>,
) -> Failure {
    let (reason, remedy) = match (tombstone, preregistration) {
        (_, Some(row)) => (
            format!(
                "{name} is pre-registered under the profile {}, and no device has claimed it",
                row.profile
            ),
            "Let the device claim it, or create it.",
        ),
        (Some(tombstone), None) => (
            format!(
                "{name} was deleted at {} by the operation {}",
                tombstone.deleted_at.rfc3339(),
                tombstone.operation_id
            ),
            "Create it anew, or look at the operation.",
        ),
        (None, None) => (format!("there is no device {name}"), "Check the name."),
    };
    Failure::not_found("thingName", reason, remedy)
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationView<'a> {
    operation_id: &'a OperationId,
    kind: OperationKind,
    thing_name: &'a ThingName,
    status: OperationStatus,
    started_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Moment>,
    /// The certificate that a renewal has given the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_id: Option<&'a CertificateId>,
    /// What an update makes of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<&'a UpdatePlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepView>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    proof: &'a [ProofLine],
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Value>,
}

/// One step of a creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepView {
    name: String,
    state: &'static str,
}

impl<'a> OperationView<'a> {
    /// An operation as the caller sees it.
    pub fn new(operation: &'a Operation) -> Self {
        let id = &operation.operation_id;
        Self {
            operation_id: id,
            kind: operation.kind,
            thing_name: &operation.thing_name,
            status: operation.status,
            started_at: operation.started_at,
            ended_at: operation.ended_at,
            certificate_id: operation.certificate_id.as_ref(),
            update: operation.update.as_ref(),
            rotation: None,
            steps: operation
                .plan
                .as_ref()
                .map(|plan| steps(operation, plan))
                .unwrap_or_default(),
            proof: &operation.proof,
            failure: operation
                .failure
                .as_ref()
                .map(|failure| json!(failure.problem(Some(id.as_str())))),
        }
    }

    /// The same with how far a renewal has come. `row` is what stands in the
    /// device's row; one of another renewal, later than this, is not shown.
    #[must_use]
    pub fn with_rotation(mut self, row: Option<&'a Rotation>) -> Self {
        self.rotation = row
            .filter(|row| row.rotation_id == *self.operation_id)
            .map(RotationView::new);
        self
    }
}

/// The steps of a creation. While it runs the registry knows only of minting;
/// of the others it knows that they are planned.
fn steps(operation: &Operation, plan: &CreatePlan) -> Vec<StepView> {
    let mint = operation.mint.as_ref();
    let issuer = plan.request.issuer();
    // With `kms-ca` the id is known before the certificate is registered.
    let minted = issuer == Issuer::AwsIot && mint.is_some_and(|mint| mint.certificate_id.is_some());
    let state = |step: &Step| match (operation.status, step) {
        (OperationStatus::Done, _) => "done",
        (OperationStatus::Compensated, _) => "undone",
        (OperationStatus::Running, Step::IntendMint) if mint.is_some() => "done",
        (OperationStatus::Running, Step::Mint | Step::RecordCertificate) if minted => "done",
        (OperationStatus::Running, _) => "planned",
        (OperationStatus::Undoing, _) => "undoing",
        (OperationStatus::Failed | OperationStatus::Stuck, _) => "unknown",
    };
    let view = |step: Step| StepView {
        state: state(&step),
        name: step_name(&step, issuer),
    };
    plan.rounds().into_iter().flatten().map(view).collect()
}

fn step_name(step: &Step, issuer: Issuer) -> String {
    let name = match (step, issuer) {
        (Step::JoinGroup(group), _) => return format!("join the group {group}"),
        (Step::CreateThing, _) => "create the thing",
        (Step::StoreKey, _) => "store the sealed key",
        (Step::IntendMint, Issuer::AwsIot) => "record the intent to issue a certificate",
        (Step::IntendMint, Issuer::KmsCa) => "record the signed certificate",
        (Step::Mint, Issuer::AwsIot) => "issue the certificate",
        (Step::Mint, Issuer::KmsCa) => "register the certificate",
        (Step::RecordCertificate, _) => "record the certificate",
        (Step::Attach, _) => "attach the certificate",
        (Step::Commit, _) => "commit",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::create::Mint;
    use crate::csr::Csr;
    use crate::request::CreateRequest;

    const CSR: &str = include_str!("../fixtures/rsa-2048.csr.pem");

    fn plan() -> CreatePlan {
        let body = json!({"thingName": "milan-0001", "groups": ["milan"], "csr": CSR});
        let request = CreateRequest::parse(body.to_string().as_bytes(), None)
            .unwrap()
            .0;
        CreatePlan::new(OperationId::from_random([7; 16]), request)
    }

    fn check_hides(shown: &Value, hidden: &[&str]) {
        let text = shown.to_string();
        for secret in hidden {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }

    #[test]
    fn a_device_is_shown_without_its_request_and_where_its_key_lies() {
        let device = plan().claimed(Moment(1));
        let certificate = CertificateRecord {
            certificate_id: CertificateId::of_der(b"der"),
            certificate_pem: "PEM".to_owned(),
            public_key: Csr::parse(CSR).unwrap().public_key().clone(),
            custody: Custody::Vault,
            key_object: Some("keys/milan-0001/op.json".to_owned()),
            key_purged_at: None,
            issuer: Issuer::AwsIot,
            issued_at: Moment(1),
            not_after: Moment(2),
            due_at: Some(Moment(6)),
            due_shard: Some("DUE#1970-01-01#00".to_owned()),
            revoked_at: None,
            hand_out: crate::handout::decide(None, "arn:alice", Some("k"), Moment(5))
                .ok()
                .and_then(|d| match d {
                    crate::handout::Decision::Record(record) => Some(record),
                    crate::handout::Decision::Replay => None,
                }),
        };
        let certificates = [certificate];
        let shown = json!(DeviceView::new(&device).with_certificates(&certificates));
        assert_eq!(shown["certificates"][0]["keyHandedOutAt"], 5);
        assert_eq!(shown["certificates"][0]["notAfter"], 2);
        assert_eq!(shown["certificates"][0]["dueAt"], 6);
        assert_eq!(shown["thingName"], "milan-0001");
        check_hides(
            &shown,
            &[
                "CERTIFICATE REQUEST",
                "keys/",
                "DEVICES#",
                "DUE#",
                "arn:alice",
                "keyDigest",
            ],
        );
        check_hides(
            &json!(DeviceView::new(&device)),
            &["CERTIFICATE REQUEST", "certificates"],
        );
    }

    #[test]
    fn an_operation_is_shown_without_its_plan_and_the_operators_message() {
        let plan = plan();
        let mut operation = plan.operation(Moment(1), Moment(2));
        let states = |operation: &Operation| -> Vec<&'static str> {
            OperationView::new(operation)
                .steps
                .iter()
                .map(|step| step.state)
                .collect()
        };
        assert!(states(&operation).iter().all(|state| *state == "planned"));
        operation.mint = Some(Mint {
            intended_at: Moment(1),
            public_key: plan.request.csr.as_ref().unwrap().public_key().clone(),
            certificate_id: Some(CertificateId::of_der(b"der")),
            certificate_pem: None,
        });
        assert_eq!(
            states(&operation)
                .iter()
                .filter(|state| **state == "done")
                .count(),
            3
        );
        let mut signed = operation.clone();
        let request = &mut signed.plan.as_mut().unwrap().request;
        request.issuer = Some(Issuer::KmsCa);
        let done = states(&signed)
            .iter()
            .filter(|state| **state == "done")
            .count();
        assert_eq!(done, 1, "signed is not yet registered");
        operation.status = OperationStatus::Compensated;
        operation.failure = Some(Failure::new(Kind::Denied, "no", "ask").operator("secret detail"));
        let shown = json!(OperationView::new(&operation));
        assert_eq!(shown["status"], "COMPENSATED");
        assert_eq!(shown["failure"]["code"], "Denied");
        assert_eq!(shown["steps"][0]["state"], "undone");
        check_hides(
            &shown,
            &["CERTIFICATE REQUEST", "secret detail", "leaseUntil"],
        );
    }

    #[test]
    fn why_there_is_no_device() {
        let name = ThingName::parse("milan-0001").unwrap();
        let tombstone = Tombstone {
            thing_name: name.clone(),
            certificate_ids: Vec::new(),
            operation_id: OperationId::from_random([7; 16]),
            deleted_at: Moment(1_772_360_101_480),
            expires_at: 0,
        };
        let gone = absent(&name, Some(&tombstone), None);
        assert!(
            gone.reason
                .contains("2026-03-01T10:15:01Z by the operation op-07"),
            "{}",
            gone.reason
        );
        let row = Preregistration {
            thing_name: name.clone(),
            profile: ProfileName::parse("spring").unwrap(),
        };
        assert!(
            absent(&name, Some(&tombstone), Some(&row))
                .reason
                .contains("spring")
        );
        assert_eq!(absent(&name, None, None).http_status(), 404);
    }
}
