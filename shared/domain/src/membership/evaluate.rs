//! What a change of a device's document comes to: the groups that it is in now,
//! and what AWS's static groups have to follow.

use std::collections::BTreeSet;

use super::MembershipRow;
use super::definitions::Definitions;
use super::document::DocumentRow;
use crate::catalog::Materialize;
use crate::names::GroupName;
use crate::time::Moment;

/// A thing is in 10 groups at most ("AWS IoT Device Management endpoints and
/// quotas"); two are kept free, for waves of rollouts, whose groups a document has
/// not, and whatever a person needs at night.
const MOST_GROUPS: usize = 8;

/// A device's rows as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its document.
    pub document: DocumentRow,
    /// The groups that it was in.
    pub membership: MembershipRow,
}

/// What is to be written of a device, and done in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The document, if it or what is known of it has changed.
    pub document: Option<DocumentRow>,
    /// The membership, if that has changed.
    pub membership: Option<MembershipRow>,
    /// What static groups have to follow.
    pub moves: Moves,
}

/// What is to be done to the static groups with a definition's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The device is to join these.
    pub join: BTreeSet<GroupName>,
    /// It is to leave these.
    pub leave: BTreeSet<GroupName>,
}

/// Asks the definitions about a document as events have left it. Nothing: what
/// is stored was found by later definitions than these.
pub fn evaluate(
    definitions: &Definitions,
    stored: Option<&Stored>,
    after: DocumentRow,
    now: Moment,
) -> Option<Evaluated> {
    let by_version = stored.map_or(0, |stored| stored.document.definitions_version);
    if by_version > definitions.version {
        return None;
    }
    let names = groups(definitions, stored, &after);
    let (moves, saturated) = moves(definitions, &names, &after);
    let changed = stored.is_none_or(|stored| {
        stored.document != after || stored.document.definitions_version != definitions.version
    });
    if !changed {
        return Some(Evaluated {
            document: None,
            membership: None,
            moves,
        });
    }
    let mut document = after;
    document.version += 1;
    document.definitions_version = definitions.version;
    let before = stored.map(|stored| &stored.membership);
    let since = |name: &GroupName| before.and_then(|row| row.groups.get(name).copied());
    // Another invocation's clock may have been ahead of this one's.
    let now = now.max(before.and_then(|row| row.at).unwrap_or_default());
    let membership = MembershipRow {
        thing_name: document.thing_name.clone(),
        generation: document.generation.clone(),
        document_version: document.version,
        definitions_version: definitions.version,
        at: Some(now),
        groups: names
            .into_iter()
            .map(|name| (name.clone(), since(&name).unwrap_or(now)))
            .collect(),
        saturated,
    };
    let is_same = before.is_some_and(|before| {
        before.groups == membership.groups && before.saturated == membership.saturated
    });
    Some(Evaluated {
        document: Some(document),
        membership: (!is_same).then_some(membership),
        moves,
    })
}

/// The groups that a device with this document is in. What has not changed is
/// not asked again, unless other definitions found what is stored.
fn groups(
    definitions: &Definitions,
    stored: Option<&Stored>,
    after: &DocumentRow,
) -> BTreeSet<GroupName> {
    let Some(document) = definitions.document(after) else {
        return BTreeSet::new();
    };
    let matcher = &definitions.matcher;
    let mut session = matcher.session();
    let known = stored.filter(|s| s.document.definitions_version == definitions.version);
    let before = known.and_then(|s| Some((definitions.document(&s.document)?, &s.membership)));
    let members = match before {
        None => session.members(&document),
        Some((before, membership)) => {
            let names = membership.groups.keys().map(GroupName::as_str);
            let mut members = matcher.members_named(names);
            session.change(&before, &document, &mut members);
            members
        }
    };
    let names = matcher.names_of(&members);
    names
        .filter_map(|name| GroupName::parse(name).ok())
        .collect()
}

/// What static groups have to follow, and which have no room for the device. What
/// else it is in has its place first, so a group that somebody puts it into
/// displaces one of these; a newcomer among these displaces none.
fn moves(
    definitions: &Definitions,
    groups: &BTreeSet<GroupName>,
    document: &DocumentRow,
) -> (Moves, BTreeSet<GroupName>) {
    if document.thing.as_ref().is_none_or(|thing| thing.gone) {
        return Default::default();
    }
    let is_static = |name: &str| definitions.is(name, Materialize::Static);
    let in_aws: BTreeSet<_> = document
        .groups
        .iter()
        .filter(|name| is_static(name))
        .filter_map(|name| GroupName::parse(name).ok())
        .collect();
    let others = document.groups.iter().filter(|name| !is_static(name));
    let room = MOST_GROUPS.saturating_sub(others.count());
    let wanted = groups.iter().filter(|name| is_static(name.as_str()));
    let (held, missing): (Vec<_>, Vec<_>) = wanted.cloned().partition(|name| in_aws.contains(name));
    let ranked = [held, missing].concat();
    let (kept, saturated) = ranked.split_at(room.min(ranked.len()));
    let kept: BTreeSet<_> = kept.iter().cloned().collect();
    let moves = Moves {
        join: kept.difference(&in_aws).cloned().collect(),
        leave: in_aws.difference(&kept).cloned().collect(),
    };
    (moves, saturated.iter().cloned().collect())
}
