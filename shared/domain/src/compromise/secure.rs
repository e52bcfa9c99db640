//! What a confirmed case does to a device, and what it shows for it.

use std::collections::{BTreeMap, BTreeSet};

use super::Case;
use crate::delete::{
    CertificateSeen, CertificateState, ObjectVersion, ProofLine, Store, line, purges,
};
use crate::names::{CertificateId, ThingName};

/// Everything of one device that could still act, as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The device.
    pub thing_name: ThingName,
    /// Its certificates: those the registry has, those attached, those seen
    /// before, and those that a rotation may have made.
    pub certificates: BTreeMap<CertificateId, DenySeen>,
    /// Whether a rotation of it is under way.
    pub rotating: bool,
    /// The jobs with an execution for it that is queued or in progress.
    pub executions: BTreeSet<String>,
    /// The open tunnels to it.
    pub tunnels: BTreeSet<String>,
    /// Whether a client with its name is connected.
    pub connected: bool,
    /// The versions of its key objects, delete markers included.
    pub versions: BTreeSet<ObjectVersion>,
    /// The same in the replica bucket, if there is one.
    pub replica: Option<BTreeSet<ObjectVersion>>,
}

/// One certificate, and what keeps it from acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenySeen {
    /// The certificate.
    pub certificate: CertificateSeen,
    /// Whether the deny policy hangs on it.
    pub denied: bool,
    /// Whether its record, should it have one, says that it is revoked.
    pub marked: bool,
    /// Whether the registry has it as this device's: if not, and another thing
    /// has it too, it is not this device's to revoke.
    pub ours: bool,
}

/// One call that keeps the device from acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ends the rotation that is under way.
    EndRotation,
    /// Sets a certificate REVOKED.
    Revoke(CertificateId),
    /// Records that a certificate is revoked, and due no more.
    Mark(CertificateId),
    /// Closes the connection and drops the session behind it.
    CloseConnection,
    /// Attaches the deny policy to a certificate, by its ARN.
    Deny(String),
    /// Closes a tunnel.
    CloseTunnel(String),
    /// Cancels the execution of a job for this thing.
    CancelExecution(String),
    /// Deletes versions of key objects.
    Purge(Store, Vec<ObjectVersion>),
}

/// Effects that do not depend on each other.
pub type Stage = Vec<Effect>;

impl Seen {
    /// The certificates that are to be out of force, while AWS has them.
    fn revocable(&self) -> impl Iterator<Item = (&CertificateId, &DenySeen)> {
        self.certificates
            .iter()
            .filter(|(_, seen)| seen.certificate.state.is_some() && !self.is_anothers(seen))
    }

    fn is_anothers(&self, seen: &DenySeen) -> bool {
        !seen.ours && seen.certificate.others(&self.thing_name).next().is_some()
    }
}

/// What is to be done about what was found, in this order: no new connection,
/// then no connection, then what is slower to take hold. Empty when nothing is
/// left to do.
pub fn effects(seen: &Seen, case: &Case) -> Vec<Stage> {
    let in_force = seen
        .revocable()
        .filter(|(_, each)| each.certificate.state != Some(CertificateState::Revoked));
    let unmarked = seen.certificates.iter().filter(|(_, each)| !each.marked);
    let allowed = seen.revocable().filter(|(_, each)| !each.denied);
    let stages: [Stage; 5] = [
        in_force
            .map(|(id, _)| Effect::Revoke(id.clone()))
            .chain(seen.rotating.then_some(Effect::EndRotation))
            .collect(),
        (seen.connected || !case.session_dropped)
            .then_some(Effect::CloseConnection)
            .into_iter()
            .collect(),
        allowed
            .map(|(_, each)| Effect::Deny(each.certificate.arn.clone()))
            .chain(unmarked.map(|(id, _)| Effect::Mark(id.clone())))
            .collect(),
        seen.tunnels
            .iter()
            .cloned()
            .map(Effect::CloseTunnel)
            .chain(seen.executions.iter().cloned().map(Effect::CancelExecution))
            .collect(),
        purges(&seen.versions, seen.replica.as_ref())
            .into_iter()
            .map(|(store, versions)| Effect::Purge(store, versions))
            .collect(),
    ];
    stages
        .into_iter()
        .filter(|stage| !stage.is_empty())
        .collect()
}

/// What a look amounts to: a line for each certificate and each way to act.
pub fn found(seen: &Seen, case: &Case) -> Vec<ProofLine> {
    let mut lines: Vec<_> = seen
        .certificates
        .iter()
        .map(|(id, each)| certificate_line(seen, id, each))
        .collect();
    lines.extend([
        line(
            "rotation",
            "the registry",
            seen.rotating.then_some("one under way"),
        ),
        line(
            "connection",
            "iot:GetConnection",
            seen.connected.then_some("a connected client"),
        ),
        line(
            "session",
            "iot:DeleteConnection",
            (!case.session_dropped).then_some("not dropped yet"),
        ),
        line("tunnels", "iot:ListTunnels, OPEN, all pages", &seen.tunnels),
        line(
            "job executions",
            "iot:ListJobExecutionsForThing, QUEUED and IN_PROGRESS, all pages",
            &seen.executions,
        ),
        versions("key object versions", &seen.versions),
    ]);
    if let Some(replica) = &seen.replica {
        lines.push(versions("key object versions, replica", replica));
    }
    lines
}

fn certificate_line(seen: &Seen, id: &CertificateId, each: &DenySeen) -> ProofLine {
    let anothers = seen.is_anothers(each);
    let state = match each.certificate.state {
        None => "nothing",
        Some(_) if anothers => "another thing's too, left as it is",
        Some(CertificateState::Revoked) if each.denied => "REVOKED, denied by policy",
        Some(CertificateState::Revoked) => "REVOKED",
        Some(CertificateState::Inactive) => "INACTIVE",
        Some(CertificateState::InForce) => "in force",
    };
    let revoked = each.certificate.state == Some(CertificateState::Revoked) && each.denied;
    ProofLine {
        subject: format!("certificate {id}"),
        looked: "iot:DescribeCertificate, iot:ListAttachedPolicies".to_owned(),
        found: state.to_owned(),
        clear: (anothers || revoked || each.certificate.state.is_none()) && each.marked,
    }
}

fn versions(subject: &str, versions: &BTreeSet<ObjectVersion>) -> ProofLine {
    line(
        subject,
        "s3:ListObjectVersions, all pages",
        versions
            .iter()
            .map(|version| format!("{} {}", version.key, version.version_id)),
    )
}
