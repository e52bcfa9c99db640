//! Where each item of the registry stands: its keys, and how partitions and sort
//! keys are named.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use lamplighter_domain::authority::AuthorityId;
use lamplighter_domain::catalog::OwnedRow;
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::membership::member_shard;
use lamplighter_domain::names::{
    CaseId, CertificateId, GroupName, JobTemplateName, OperationId, PolicyName, ProfileName,
    SweepId, ThingName, ThingTypeName,
};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::time::Moment;
use lamplighter_domain::tunnel::TunnelId;

use super::Item;

/// An item's two keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// `DEVICE#name / RECORD`.
    pub fn device(name: &ThingName) -> Self {
        Self::new(device_partition(name), "RECORD")
    }

    /// `DEVICE#name / CERT#id`.
    pub fn certificate(name: &ThingName, id: &CertificateId) -> Self {
        Self::new(device_partition(name), format!("CERT#{id}"))
    }

    /// `DEVICE#name / ROTATION`.
    pub fn rotation(name: &ThingName) -> Self {
        Self::new(device_partition(name), "ROTATION")
    }

    /// `DEVICE#name / ENROLMENT`: the device's one token, by its digest.
    pub fn enrolment(name: &ThingName) -> Self {
        Self::new(device_partition(name), "ENROLMENT")
    }

    /// `DEVICE#name / TOMBSTONE`.
    pub fn tombstone(name: &ThingName) -> Self {
        Self::new(device_partition(name), "TOMBSTONE")
    }

    /// `DEVICE#name / PREREGISTRATION`.
    pub fn preregistration(name: &ThingName) -> Self {
        Self::new(device_partition(name), "PREREGISTRATION")
    }

    /// `OP#id / OPERATION`.
    pub fn operation(id: &OperationId) -> Self {
        Self::new(format!("OP#{id}"), "OPERATION")
    }

    /// `KEY#publicKey / OWNER`.
    pub fn owner(key: &PublicKeyId) -> Self {
        Self::new(format!("KEY#{}", key.as_str()), "OWNER")
    }

    /// `CASE#id / CASE`.
    pub fn case(id: &CaseId) -> Self {
        Self::new(format!("CASE#{id}"), "CASE")
    }

    /// `POLICY#name / LOCK`: that somebody has stopped a shared policy.
    pub fn policy_lock(name: &PolicyName) -> Self {
        Self::new(format!("POLICY#{name}"), "LOCK")
    }

    /// `TUNNEL#id / TUNNEL`: a tunnel, and its trail.
    pub fn tunnel(id: &TunnelId) -> Self {
        Self::new(format!("TUNNEL#{}", id.as_str()), "TUNNEL")
    }

    /// `TUNNELS#thing / moment#id`: a tunnel in its device's list.
    pub fn tunnel_of(thing: &ThingName, place: &str) -> Self {
        Self::new(tunnels_partition(thing), place)
    }

    /// `TUNNELS / LIVE#id`: a tunnel that AWS may have.
    pub fn live_tunnel(id: &TunnelId) -> Self {
        Self::new(TUNNELS.to_owned(), format!("{LIVE}{}", id.as_str()))
    }

    /// `TUNNELS / PACE#call`: when a call is allowed next.
    pub fn pace(call: &str) -> Self {
        Self::new(TUNNELS.to_owned(), format!("PACE#{call}"))
    }

    /// `PROFILE#name / PROFILE`.
    pub fn profile(name: &ProfileName) -> Self {
        Self::new(format!("PROFILE#{name}"), "PROFILE")
    }

    /// `CA#id / AUTHORITY`.
    pub fn authority(id: &AuthorityId) -> Self {
        Self::new(format!("CA#{id}"), "AUTHORITY")
    }

    /// `CA#ACTIVE / POINTER`: the authorities that stand.
    pub fn standing() -> Self {
        Self::new("CA#ACTIVE".to_owned(), "POINTER")
    }

    /// `TYPE#name / TOPICS`: where devices of a type leave retained messages.
    pub fn topics(name: &ThingTypeName) -> Self {
        Self::new(format!("TYPE#{name}"), "TOPICS")
    }

    /// `TYPE#name / TYPE`: which of AWS's types a declared one is.
    pub fn type_row(name: &ThingTypeName) -> Self {
        Self::new(format!("TYPE#{name}"), "TYPE")
    }

    /// `DEFINITIONS / GROUP#name`: a dynamic group.
    pub fn definition(name: &GroupName) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{DEFINITION_PREFIX}{name}"))
    }

    /// `DEFINITIONS / VERSION`: counts the changes of all definitions.
    pub fn definitions() -> Self {
        Self::new(DEFINITIONS.to_owned(), "VERSION")
    }

    /// `DEFINITIONS / SWEEP#NN`: how far a sweep is in one shard.
    pub fn sweep_of_groups(shard: u32) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{SWEEP_PREFIX}{shard:02}"))
    }

    /// `DEFINITIONS / REMOVED#name`: a dynamic group whose members are leaving.
    pub fn removed(name: &GroupName) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{REMOVED_PREFIX}{name}"))
    }

    /// `DEVICE#name / DOCUMENT`: what queries are asked about.
    pub fn document(name: &ThingName) -> Self {
        Self::new(device_partition(name), "DOCUMENT")
    }

    /// `DEVICE#name / MEMBERSHIP`: the dynamic groups that a device is in.
    pub fn membership(name: &ThingName) -> Self {
        Self::new(device_partition(name), "MEMBERSHIP")
    }

    /// `GROUP#group#NN / MEMBER#name`: one member of a dynamic group.
    pub fn member(group: &GroupName, name: &ThingName) -> Self {
        let pk = member_partition(group, member_shard(name));
        Self::new(pk, format!("{MEMBER_PREFIX}{name}"))
    }

    /// `GROUP#group#NN / CHANGE#time#id`: one enter or leave.
    pub fn change(group: &GroupName, name: &ThingName, key: &str) -> Self {
        let pk = member_partition(group, member_shard(name));
        Self::new(pk, format!("{CHANGE_PREFIX}{key}"))
    }

    /// `GROUP#group#NN / COUNT`: how many members one partition has.
    pub fn count(group: &GroupName, shard: u32) -> Self {
        Self::new(member_partition(group, shard), "COUNT")
    }

    /// `TEMPLATE#name / TEMPLATE`: a job template.
    pub fn job_template(name: &JobTemplateName) -> Self {
        Self::new(format!("TEMPLATE#{name}"), "TEMPLATE")
    }

    /// `CATALOG / catalog#kind#name`: that a catalog made something.
    pub fn owned(row: &OwnedRow) -> Self {
        let kind = row.owned.kind.name().replace(' ', "-");
        let sk = format!("{}#{kind}#{}", row.catalog, row.owned.name);
        Self::new(CATALOG.to_owned(), sk)
    }

    /// `SWEEP#id / SWEEP`.
    pub fn sweep(id: &SweepId) -> Self {
        Self::new(format!("SWEEP#{id}"), "SWEEP")
    }

    /// `SWEEP#id / COUNTS`: how its rotations have ended.
    pub fn sweep_counts(id: &SweepId) -> Self {
        Self::new(format!("SWEEP#{id}"), "COUNTS")
    }

    /// `SWEEP#LATEST / POINTER`: the sweep that is open, or was last.
    pub fn latest_sweep() -> Self {
        Self::new("SWEEP#LATEST".to_owned(), "POINTER")
    }

    /// The keys of an item.
    pub fn of(item: &Item) -> Option<Self> {
        let text = |name: &str| Some(item.get(name)?.as_s().ok()?.clone());
        Some(Self::new(text("PK")?, text("SK")?))
    }

    /// `ROLLOUT#id / ROLLOUT`: how far a job has come.
    pub fn rollout(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "ROLLOUT")
    }

    /// `ROLLOUT#id / ORDER`: what was asked for, and the document.
    pub fn order(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "ORDER")
    }

    /// `ROLLOUT#id / NAMES#asked#page`: things that were named one by one, by the
    /// digest of what was asked for.
    pub fn named_things(id: &RolloutId, asked: &str, page: usize) -> Self {
        Self::new(rollout_partition(id), format!("NAMES#{asked}#{page:05}"))
    }

    /// `ROLLOUT#id / TARGET#place`: a target, by its place in the list.
    pub fn target(id: &RolloutId, place: &Cursor) -> Self {
        Self::new(rollout_partition(id), format!("{TARGET}{}", place.0))
    }

    /// `ROLLOUT#id / LATE#thing`: that a thing joined after the list was made.
    pub fn late_joiner(id: &RolloutId, thing: &ThingName) -> Self {
        Self::new(rollout_partition(id), format!("LATE#{thing}"))
    }

    /// `ROLLOUT#id / LEFT_OUT`: some of those that were left out of the targets.
    pub fn left_out(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "LEFT_OUT")
    }

    /// `ROLLOUT#id / JOINED`: how many did.
    pub fn joined(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "JOINED")
    }

    /// `ROLLOUT#id / DEVICE#thing`: a device that a wave has taken.
    pub fn execution(id: &RolloutId, thing: &ThingName) -> Self {
        Self::new(rollout_partition(id), format!("{EXECUTION}{thing}"))
    }

    /// `ROLLOUT#id / WAVE#n`: a wave's counts.
    pub fn wave(id: &RolloutId, wave: u32) -> Self {
        Self::new(rollout_partition(id), format!("WAVE#{wave}"))
    }

    /// `ROLLOUT#id / TOTALS`: the counts of all waves.
    pub fn totals(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "TOTALS")
    }

    /// `ROLLOUT#id / TRAIL#number`: an event of a job.
    pub fn trail(id: &RolloutId, number: u32) -> Self {
        Self::new(rollout_partition(id), format!("{TRAIL}{number:04}"))
    }

    /// `ROLLOUTS / OPEN#id`: that a job has not ended.
    pub fn open_rollout(id: &RolloutId) -> Self {
        Self::new(ROLLOUTS.to_owned(), format!("OPEN#{}", id.as_str()))
    }

    /// `ROLLOUTS / AT#moment#id`: a job by the time of its start.
    pub fn rollout_at(id: &RolloutId, at: Moment) -> Self {
        let sk = format!("{STARTED}{:014}#{}", at.0, id.as_str());
        Self::new(ROLLOUTS.to_owned(), sk)
    }

    /// `GROUP#name / ROLLOUT#id`: that a job follows who joins a static group.
    pub fn follower(group: &GroupName, id: &RolloutId) -> Self {
        Self::new(group_partition(group), format!("{FOLLOWER}{}", id.as_str()))
    }

    /// `GROUP#name / ENTERS#id`: that a job follows who enters a dynamic group.
    pub fn enter_follower(group: &GroupName, id: &RolloutId) -> Self {
        let sk = format!("{ENTER_FOLLOWER}{}", id.as_str());
        Self::new(group_partition(group), sk)
    }

    /// `GROUP#name / ON_ENTER`: the job that gives a dynamic group's template to
    /// those that enter.
    pub fn on_enter(group: &GroupName) -> Self {
        Self::new(group_partition(group), "ON_ENTER")
    }

    /// The keys as an item.
    pub fn item(&self) -> Item {
        HashMap::from([
            ("PK".to_owned(), AttributeValue::S(self.pk.clone())),
            ("SK".to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// The partition of all that catalogs made.
pub const CATALOG: &str = "CATALOG";

/// The partition of all definitions, so that they are read consistently, in order.
pub const DEFINITIONS: &str = "DEFINITIONS";
/// How a definition's sort key begins.
pub const DEFINITION_PREFIX: &str = "GROUP#";
/// How the sort key of a shard of their sweep begins.
pub const SWEEP_PREFIX: &str = "SWEEP#";
/// How the sort key of a removed group begins.
pub const REMOVED_PREFIX: &str = "REMOVED#";
/// How the sort key of an enter or leave begins.
pub const CHANGE_PREFIX: &str = "CHANGE#";
/// How a member's sort key begins.
pub const MEMBER_PREFIX: &str = "MEMBER#";

/// One of the partitions that a group's members are spread over.
pub fn member_partition(group: &GroupName, shard: u32) -> String {
    format!("GROUP#{group}#{shard:02}")
}

/// The partition that leads to all jobs.
pub const ROLLOUTS: &str = "ROLLOUTS";
/// How their sort keys begin, by the time of their start.
pub const STARTED: &str = "AT#";
/// How the sort keys of a job's targets begin.
pub const TARGET: &str = "TARGET#";
/// How the sort keys of a job's devices begin.
pub const EXECUTION: &str = "DEVICE#";
/// How the sort keys of a job's events begin.
pub const TRAIL: &str = "TRAIL#";
/// How the sort keys of the jobs that follow a static group begin.
pub const FOLLOWER: &str = "ROLLOUT#";
/// How the sort keys of those begin that follow a dynamic group. One of either
/// kind may have the other's name.
pub const ENTER_FOLLOWER: &str = "ENTERS#";

/// The partition that holds everything of one job.
pub fn rollout_partition(id: &RolloutId) -> String {
    format!("ROLLOUT#{}", id.as_str())
}

/// The partition that holds what is kept of a group.
pub fn group_partition(name: &GroupName) -> String {
    format!("GROUP#{name}")
}

/// The partition of what all tunnels have in common.
pub const TUNNELS: &str = "TUNNELS";
/// How the sort keys of tunnels begin that AWS may have.
pub const LIVE: &str = "LIVE#";

/// The partition that lists a device's tunnels.
pub fn tunnels_partition(thing: &ThingName) -> String {
    format!("{TUNNELS}#{thing}")
}

/// The partition that holds everything of one device.
pub fn device_partition(name: &ThingName) -> String {
    format!("DEVICE#{name}")
}
