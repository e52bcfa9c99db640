//! Creation, as a plan of five rounds.
//!
//! Attachment is the power switch: policies hang on groups and reach a
//! certificate only through its thing, so until the last effect attaches it a
//! certificate can do nothing, and what a lost reply leaves is powerless.

use serde::{Deserialize, Serialize};

use crate::authority::Signed;
use crate::csr::PublicKeyId;
use crate::custody;
use crate::device::{
    Custody, DeviceRecord, DeviceStatus, Issuer, billing_shard_of, listing_shard_of,
};
use crate::failure::{Failure, Kind};
use crate::names::{CertificateId, GroupName, OperationId, ThingTypeName};
use crate::operation::{Operation, OperationKind};
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

/// How far the minting of a certificate has come. It stands in the registry
/// before a certificate does in AWS IoT: with `aws-iot` because asking for one
/// cannot be repeated, with `kms-ca` the signed certificate itself, so that
/// registering it can.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mint {
    /// Since when a certificate may exist.
    pub intended_at: Moment,
    /// For which key.
    pub public_key: PublicKeyId,
    /// The certificate, once its id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// The certificate that is signed and has still to be registered, with
    /// `kms-ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_pem: Option<String>,
}

impl Mint {
    /// That a certificate for a key is about to be asked for.
    pub fn intended(public_key: PublicKeyId, now: Moment) -> Self {
        Self {
            intended_at: now,
            public_key,
            certificate_id: None,
            certificate_pem: None,
        }
    }

    /// The same, when it is taken up again: what was signed stands, what was
    /// asked for is looked for afresh, from the first time on.
    #[must_use]
    pub fn taken_up(&self) -> Self {
        if self.certificate_pem.is_some() {
            return self.clone();
        }
        Self::intended(self.public_key.clone(), self.intended_at)
    }

    /// That a signed certificate is about to be registered.
    pub fn signed(public_key: PublicKeyId, signed: Signed, now: Moment) -> Self {
        Self {
            intended_at: now,
            public_key,
            certificate_id: Some(signed.certificate_id),
            certificate_pem: Some(signed.certificate_pem),
        }
    }
}

/// One effect of a creation. Each is *ensured*: done twice is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the thing, with its type, attributes and billing group.
    CreateThing,
    /// Put the sealed key in the custody bucket.
    StoreKey,
    /// Record that a certificate is about to be made, or the one that is signed.
    IntendMint,
    /// Make or register the certificate, ACTIVE and attached to nothing.
    Mint,
    /// Join one static group.
    JoinGroup(GroupName),
    /// Record the certificate's id.
    RecordCertificate,
    /// Attach the certificate to the thing, exclusively.
    Attach,
    /// Make the device ACTIVE in the registry.
    Commit,
}

impl CreatePlan {
    /// Decides a creation.
    pub fn new(operation_id: OperationId, request: CreateRequest) -> Self {
        let custody = if request.csr.is_some() {
            Custody::Device
        } else {
            Custody::Vault
        };
        let key_object = (custody == Custody::Vault)
            .then(|| custody::object(&request.thing_name, &operation_id));
        Self {
            operation_id,
            request,
            custody,
            key_object,
        }
    }

    /// What follows the claim and its reads: in each round everything at once.
    pub fn rounds(&self) -> Vec<Vec<Step>> {
        let mut thing = vec![Step::CreateThing, Step::IntendMint];
        if self.custody == Custody::Vault {
            thing.push(Step::StoreKey);
        }
        let mut certificate = vec![Step::Mint];
        certificate.extend(self.request.groups.iter().cloned().map(Step::JoinGroup));
        let mut power = vec![Step::Attach];
        // What is signed before it is registered has been recorded with its intent.
        if self.request.issuer() == Issuer::AwsIot {
            power.push(Step::RecordCertificate);
        }
        vec![thing, certificate, power, vec![Step::Commit]]
    }

    /// The effects to undo, newest first, whatever became of each. Leaving the
    /// groups needs no step of its own: memberships go with the thing.
    pub fn undo(&self) -> Vec<Step> {
        let mut steps: Vec<_> = self
            .rounds()
            .into_iter()
            .rev()
            .flatten()
            .filter(|step| {
                matches!(
                    step,
                    Step::Attach | Step::Mint | Step::CreateThing | Step::StoreKey
                )
            })
            .collect();
        // The thing and the key object are made in one round; the thing first,
        // so that a key outlives whatever could still use it.
        steps.sort_by_key(|step| match step {
            Step::Attach => 0,
            Step::Mint => 1,
            Step::CreateThing => 2,
            _ => 3,
        });
        steps
    }

    /// The device's record as the claim writes it.
    pub fn claimed(&self, now: Moment) -> DeviceRecord {
        DeviceRecord {
            listing_shard: listing_shard_of(&self.request.thing_name),
            billing_shard: billing_shard_of(
                self.request.billing_group.as_ref(),
                &self.request.thing_name,
            ),
            version: 1,
            case_id: None,
            quarantined_at: None,
            request: self.request.clone(),
            status: DeviceStatus::Creating,
            custody: self.custody,
            created_by: self.operation_id.clone(),
            operation_id: self.operation_id.clone(),
            created_at: now,
            certificate_id: None,
        }
    }

    /// The operation as the claim writes it: the whole plan, before any effect.
    pub fn operation(&self, now: Moment, lease_until: Moment) -> Operation {
        let (id, thing_name) = (self.operation_id.clone(), &self.request.thing_name);
        Operation {
            lease_until,
            attempt: 1,
            plan: Some(self.clone()),
            ..Operation::begun(id, OperationKind::Create, thing_name.clone(), now)
        }
    }
}

/// What AWS holds of what a creation needs, read in the first round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The thing of that name, if there is one.
    pub thing: Option<ThingSeen>,
    /// Whether the thing type exists and is in use: `None` if it is missing.
    pub thing_type: Option<TypeSeen>,
    /// Each group of the request, in its order.
    pub groups: Vec<(GroupName, Option<GroupSeen>)>,
    /// Whether the billing group exists.
    pub billing_group: bool,
}

/// A thing as AWS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingSeen {
    /// Whether it is what the plan would create.
    pub as_planned: bool,
}

/// A thing type as AWS describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSeen {
    /// No new thing may have it.
    pub deprecated: bool,
}

/// A thing group as AWS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSeen {
    /// AWS fills it by a query; nothing can be added to it.
    pub dynamic: bool,
    /// The root of its hierarchy: itself, if it has no parent.
    pub root: String,
    /// Whether it or a group above it bears a policy.
    pub bears_policy: bool,
}

/// Refuses a creation that AWS would refuse half way, or that would leave a
/// device which can do nothing. `resumed` is whether an earlier invocation of
/// the same operation may have created the thing.
pub fn admit(request: &CreateRequest, seen: &Surroundings, resumed: bool) -> Result<(), Failure> {
    if let Some(thing) = &seen.thing
        && !(resumed && thing.as_planned)
    {
        return Err(Failure::conflict(
            "thingName",
            format!(
                "AWS IoT has a thing {} that Lamplighter did not make",
                request.thing_name
            ),
            "Choose another name, or remove the thing in AWS IoT first.",
        ));
    }
    admit_type(request.thing_type.as_ref(), seen.thing_type)?;
    if let (Some(name), false) = (&request.billing_group, seen.billing_group) {
        return Err(missing("billingGroup", "billing group", name.as_str()));
    }
    admit_groups(&seen.groups)
}

/// Refuses a thing type that no thing can be given.
pub(crate) fn admit_type(
    name: Option<&ThingTypeName>,
    seen: Option<TypeSeen>,
) -> Result<(), Failure> {
    if let Some(name) = name {
        match seen {
            None => return Err(missing("thingType", "thing type", name.as_str())),
            Some(TypeSeen { deprecated: true }) => {
                return Err(Failure::invalid(
                    "thingType",
                    format!("the thing type {name} is deprecated"),
                    "Use its successor.",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

const WITHOUT_POLICY: &str =
    "none of the groups, nor any above them, bears a policy, so the device could do nothing";

/// Whether groups were refused because a device could do nothing in them.
pub(crate) fn is_without_policy(failure: &Failure) -> bool {
    failure.reason == WITHOUT_POLICY
}

/// Refuses groups that AWS would refuse together, or in which a device could do
/// nothing.
pub(crate) fn admit_groups(groups: &[(GroupName, Option<GroupSeen>)]) -> Result<(), Failure> {
    let mut roots: Vec<(&str, &GroupName)> = Vec::new();
    let mut policy = false;
    for (name, group) in groups {
        let group = group
            .as_ref()
            .ok_or_else(|| missing("groups", "thing group", name.as_str()))?;
        if group.dynamic {
            return Err(Failure::invalid(
                "groups",
                format!("{name} is a dynamic group"),
                "Name static groups only; dynamic ones fill themselves.",
            ));
        }
        if let Some((_, other)) = roots.iter().find(|(root, _)| *root == group.root) {
            return Err(Failure::invalid(
                "groups",
                format!("{other} and {name} belong to one hierarchy"),
                "AWS allows a thing one group of a hierarchy; name the lower one.",
            ));
        }
        roots.push((&group.root, name));
        policy |= group.bears_policy;
    }
    if !policy {
        return Err(Failure::invalid(
            "groups",
            WITHOUT_POLICY,
            "Attach a policy to one of them in the catalog, or leave groups empty for the default.",
        ));
    }
    Ok(())
}

pub(crate) fn missing(field: &str, what: &str, name: &str) -> Failure {
    Failure::invalid(
        field,
        format!("there is no {what} {name}"),
        format!("Add the {what} to the catalog and apply it, or correct the name."),
    )
    .status(422)
}

/// What a creation that finds the name taken does.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The device is there, as asked.
    There,
    /// The same creation is under way elsewhere.
    InFlight,
    /// The same creation was left half done: go on with it.
    Abandoned,
}

/// Decides by what stands in the registry under the name.
pub fn taken(
    request: &CreateRequest,
    record: &DeviceRecord,
    operation: Option<&Operation>,
    now: Moment,
) -> Result<Taken, Failure> {
    match record.status {
        // On its way out it is no measure of what may come after it.
        DeviceStatus::Deleting => {
            Err(Failure::busy("the device is being deleted", 5).field("thingName"))
        }
        DeviceStatus::Stuck => Err(Failure::new(
            Kind::Stuck,
            "an earlier creation of the device failed and could not be undone",
            "Delete the device, then create it again.",
        )),
        DeviceStatus::Active | DeviceStatus::Creating => there(request, record, operation, now),
    }
}

fn there(
    request: &CreateRequest,
    record: &DeviceRecord,
    operation: Option<&Operation>,
    now: Moment,
) -> Result<Taken, Failure> {
    if let Some(field) = record.request.first_difference(request) {
        return Err(Failure::conflict(
            field,
            format!(
                "the device {} exists with another {field}",
                request.thing_name
            ),
            "Send what it was created with, or delete it first.",
        ));
    }
    match (record.status, operation) {
        (DeviceStatus::Active, _) => Ok(Taken::There),
        (_, Some(operation)) if operation.lease_until < now => Ok(Taken::Abandoned),
        (_, Some(_)) => Ok(Taken::InFlight),
        (_, None) => Err(Failure::bug(format!(
            "{} has no operation {}",
            request.thing_name, record.operation_id
        ))),
    }
}

#[cfg(test)]
mod tests;
