//! What is left to be done of an update, by what a look at AWS found.
//!
//! A device joins before it leaves, so that at every moment it is in a group
//! that bears its policy. Within one hierarchy AWS allows a thing one group, so
//! there it changes groups by the one call that does both.

use std::collections::{BTreeMap, BTreeSet};

use super::{Surroundings, UpdatePlan};
use crate::failure::Failure;
use crate::names::{AttributeName, AttributeValue, BillingGroupName, GroupName, ThingTypeName};
use crate::operation::OperationStatus;

/// A thing is in at most this many groups, dynamic ones included ("AWS IoT
/// Device Management endpoints and quotas").
const MOST_IN_ALL: usize = 10;

/// A thing as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its thing type.
    pub thing_type: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its billing group.
    pub billing_group: Option<String>,
    /// All groups that it is in.
    pub groups: BTreeSet<String>,
    /// Its version in AWS.
    pub version: i64,
}

/// One effect. Each is *ensured*: done twice is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Give the thing these attributes and this type, if it has this version.
    Thing {
        /// All its attributes.
        attributes: BTreeMap<AttributeName, AttributeValue>,
        /// Its type; none takes away the one it has.
        thing_type: Option<ThingTypeName>,
        /// The version.
        version: i64,
    },
    /// Take it out of a billing group.
    LeaveBillingGroup(String),
    /// Put it into a billing group.
    JoinBillingGroup(BillingGroupName),
    /// Put it into a group.
    Join(GroupName),
    /// Take it out of groups and put it into others by one call.
    Swap {
        /// To join.
        join: BTreeSet<GroupName>,
        /// To leave.
        leave: BTreeSet<GroupName>,
    },
    /// Take it out of a group.
    Leave(GroupName),
}

/// What is to be done, in stages: within one, everything at once.
///
/// # Errors
/// `Invalid` when the thing is in so many groups that it cannot join.
pub fn effects(
    plan: &UpdatePlan,
    status: OperationStatus,
    seen: &Seen,
    around: &Surroundings,
) -> Result<Vec<Vec<Effect>>, Failure> {
    let target = plan.target(status);
    let (mut first, mut then, mut last) = (Vec::new(), Vec::new(), Vec::new());
    if plan.touched.thing {
        first.extend(thing(plan, status, seen));
    }
    if plan.touched.billing_group {
        let wanted = target.billing_group.as_ref().map(BillingGroupName::as_str);
        if seen.billing_group.as_deref() != wanted {
            first.extend(seen.billing_group.clone().map(Effect::LeaveBillingGroup));
            then.extend(target.billing_group.clone().map(Effect::JoinBillingGroup));
        }
    }
    if plan.touched.groups {
        let moves = Moves::of(plan, status, seen, around)?;
        first.extend(moves.join.into_iter().map(Effect::Join));
        then.extend(moves.swap);
        last.extend(moves.leave.into_iter().map(Effect::Leave));
    }
    Ok([first, then, last]
        .into_iter()
        .filter(|stage| !stage.is_empty())
        .collect())
}

fn thing(plan: &UpdatePlan, status: OperationStatus, seen: &Seen) -> Option<Effect> {
    let target = plan.target(status);
    let type_as_wanted =
        seen.thing_type.as_deref() == target.thing_type.as_ref().map(ThingTypeName::as_str);
    let attributes_as_wanted = seen.attributes.len() == target.attributes.len()
        && target
            .attributes
            .iter()
            .all(|(n, v)| seen.attributes.get(n.as_str()).map(String::as_str) == Some(v.as_str()));
    (!type_as_wanted || !attributes_as_wanted).then(|| Effect::Thing {
        attributes: target.attributes.clone(),
        thing_type: target.thing_type.clone(),
        version: seen.version,
    })
}

/// How a thing comes from the groups that it is in to those it is to be in.
#[derive(Default)]
struct Moves {
    join: BTreeSet<GroupName>,
    swap: Option<Effect>,
    leave: BTreeSet<GroupName>,
}

impl Moves {
    fn of(
        plan: &UpdatePlan,
        status: OperationStatus,
        seen: &Seen,
        around: &Surroundings,
    ) -> Result<Self, Failure> {
        let wanted = &plan.target(status).groups;
        let is_in = |group: &&GroupName| seen.groups.contains(group.as_str());
        let join: BTreeSet<_> = wanted.iter().filter(|g| !is_in(g)).cloned().collect();
        // What the thing is in besides is not the registry's to decide.
        let ours = plan.groups();
        let leave: BTreeSet<_> = ours
            .iter()
            .filter(|group| is_in(group) && !wanted.contains(*group))
            .cloned()
            .collect();
        let in_the_end = seen.groups.len() + join.len() - leave.len();
        if in_the_end > MOST_IN_ALL && !join.is_empty() {
            return Err(Failure::invalid(
                "groups",
                format!("the thing would be in {in_the_end} groups, those of others included"),
                format!("AWS allows {MOST_IN_ALL}; take it out of some first."),
            ));
        }
        let roots = roots(around);
        let root = |group: &GroupName| roots.get(group.as_str()).copied();
        let shares = |group: &GroupName, others: &BTreeSet<GroupName>| {
            let same = |other: &GroupName| root(group).is_some() && root(other) == root(group);
            others.iter().any(same)
        };
        // With no room to join before it leaves, both have to be one call.
        let crowded = seen.groups.len() + join.len() > MOST_IN_ALL;
        let swaps = |group: &GroupName, others| crowded || shares(group, others);
        let (swap_in, join): (BTreeSet<_>, BTreeSet<_>) =
            join.iter().cloned().partition(|group| swaps(group, &leave));
        let (swap_out, leave): (BTreeSet<_>, BTreeSet<_>) = leave
            .iter()
            .cloned()
            .partition(|group| !swap_in.is_empty() && swaps(group, &swap_in));
        let swap = (!swap_in.is_empty()).then_some(Effect::Swap {
            join: swap_in,
            leave: swap_out,
        });
        Ok(Self { join, swap, leave })
    }
}

/// The hierarchy that each group belongs to, by the name of its root.
fn roots(around: &Surroundings) -> BTreeMap<&str, &str> {
    let groups = around.groups.iter().chain(&around.left);
    groups
        .filter_map(|(name, group)| Some((name.as_str(), group.as_ref()?.root.as_str())))
        .collect()
}
