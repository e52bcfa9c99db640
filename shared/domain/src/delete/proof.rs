//! The proof: what the last look found, a line for each kind of thing.

use serde::{Deserialize, Serialize};

use super::{CertificateSeen, CertificateState, DeleteProgress, Observation};
use crate::custody;
use crate::names::CertificateId;

/// One line of the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofLine {
    /// What was looked for.
    pub subject: String,
    /// Where, and how.
    pub looked: String,
    /// What was there.
    pub found: String,
    /// Whether nothing of this device is left.
    pub clear: bool,
}

/// Names beyond this many are counted, not listed: the proof is one item.
const MOST_NAMES: usize = 8;

/// Whether nothing is left.
pub fn is_clear(proof: &[ProofLine]) -> bool {
    proof.iter().all(|line| line.clear)
}

/// The proof that one look amounts to. It is a proof of absence only if every
/// line is clear and nothing was done after the look.
pub fn proof(seen: &Observation, progress: &DeleteProgress) -> Vec<ProofLine> {
    let mut lines = vec![line(
        "thing",
        "iot:DescribeThing",
        seen.thing.iter().map(|_| "the thing"),
    )];
    lines.extend(seen.certificates.iter().map(|(id, certificate)| {
        let shared = progress.shared(id);
        certificate_line(seen, id, certificate, shared)
    }));
    lines.extend([
        line(
            "principals",
            "iot:ListThingPrincipals, all pages",
            &seen.principals,
        ),
        memberships(seen),
        dynamic(seen),
        line(
            "classic shadow",
            "iot:GetThingShadow",
            seen.classic_shadow.then_some("a document"),
        ),
        line(
            "named shadows",
            "iot:ListNamedShadowsForThing, all pages",
            &seen.named_shadows,
        ),
    ]);
    lines.extend(retained(seen));
    lines.extend([
        line(
            "job executions",
            "iot:ListJobExecutionsForThing, QUEUED and IN_PROGRESS, all pages",
            &seen.executions,
        ),
        line("tunnels", "iot:ListTunnels, OPEN, all pages", &seen.tunnels),
        line(
            "connection",
            "iot:GetConnection",
            seen.connected.then_some("a connected client"),
        ),
        versions(
            seen,
            "key object versions",
            "custody bucket",
            &seen.versions,
        ),
    ]);
    if let Some(replica) = &seen.replica {
        lines.push(versions(
            seen,
            "key object versions, replica",
            "replica bucket",
            replica,
        ));
    }
    lines
}

pub(crate) fn line<T: AsRef<str>>(
    subject: impl Into<String>,
    looked: impl Into<String>,
    found: impl IntoIterator<Item = T>,
) -> ProofLine {
    let names: Vec<T> = found.into_iter().collect();
    ProofLine {
        subject: subject.into(),
        looked: looked.into(),
        found: listed(&names),
        clear: names.is_empty(),
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(AsRef::as_ref).collect();
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

fn certificate_line(
    seen: &Observation,
    id: &CertificateId,
    certificate: &CertificateSeen,
    shared: bool,
) -> ProofLine {
    let attached = certificate.attached_to(&seen.thing_name) || seen.principal_of(id).is_some();
    let (what, left) = match certificate.state {
        None => ("nothing".to_owned(), false),
        Some(_) if shared => {
            let others: Vec<_> = certificate.others(&seen.thing_name).collect();
            (
                format!("shared, left; also attached to {}", listed(&others)),
                false,
            )
        }
        Some(CertificateState::Revoked) => ("REVOKED, kept".to_owned(), false),
        Some(CertificateState::Inactive) => (
            "not deleted yet; nobody can connect with it".to_owned(),
            true,
        ),
        Some(CertificateState::InForce) => ("in force".to_owned(), true),
    };
    let still = if attached {
        "; still attached to this thing"
    } else {
        ""
    };
    ProofLine {
        subject: format!("certificate {id}"),
        looked: "iot:DescribeCertificate; iot:ListPrincipalThings, all pages".to_owned(),
        found: format!("{what}{still}"),
        clear: !left && !attached,
    }
}

fn memberships(seen: &Observation) -> ProofLine {
    let billing = seen
        .thing
        .iter()
        .filter_map(|thing| thing.billing_group.as_ref())
        .map(|group| format!("billing group {group}"));
    line(
        "memberships",
        "iot:ListThingGroupsForThing, all pages; the thing's billing group by iot:DescribeThing",
        seen.groups.iter().cloned().chain(billing),
    )
}

/// The registry's rows about dynamic groups: the device's own, and those of it
/// among the members of each group that it was ever seen to be in.
fn dynamic(seen: &Observation) -> ProofLine {
    let document = seen.evaluated.then(|| "a document".to_owned());
    let members = seen
        .member_of
        .iter()
        .map(|group| format!("member of {group}"));
    line(
        "dynamic groups",
        "dynamodb:Query of the device's rows; dynamodb:GetItem of its row in each group",
        document.into_iter().chain(members),
    )
}

/// AWS cannot list retained messages by device, so each topic that was looked
/// at is named.
fn retained(seen: &Observation) -> Vec<ProofLine> {
    if seen.retained.is_empty() {
        return vec![line::<&str>(
            "retained messages",
            "nowhere: neither the profile nor the thing type declares a topic",
            [],
        )];
    }
    seen.retained
        .iter()
        .map(|(topic, there)| {
            line(
                format!("retained message on {topic}"),
                "iot:GetRetainedMessage",
                there.then_some("a message"),
            )
        })
        .collect()
}

fn versions<'a>(
    seen: &Observation,
    subject: &str,
    bucket: &str,
    found: impl IntoIterator<Item = &'a super::ObjectVersion>,
) -> ProofLine {
    line(
        subject,
        format!(
            "s3:ListObjectVersions in the {bucket} under {}, all pages, delete markers too",
            custody::prefix(&seen.thing_name)
        ),
        found
            .into_iter()
            .map(|version| format!("{} version {}", version.key, version.version_id)),
    )
}
