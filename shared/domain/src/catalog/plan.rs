//! What is missing of a catalog, what is there, and what differs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{BillingGroup, Catalog, Group, Policy, ThingType};
use crate::claim::Profile;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, PolicyName, ProfileName,
    ThingTypeName,
};

/// What is there of what a catalog names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Thing types.
    pub thing_types: BTreeMap<ThingTypeName, ThingTypeSeen>,
    /// The documents of policies.
    pub policies: BTreeMap<PolicyName, Value>,
    /// The policies that somebody has stopped.
    pub stopped: BTreeSet<PolicyName>,
    /// Thing groups.
    pub groups: BTreeMap<GroupName, GroupSeen>,
    /// The descriptions of billing groups.
    pub billing_groups: BTreeMap<BillingGroupName, String>,
    /// Profiles.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// Where devices of a type leave retained messages.
    pub topics: BTreeMap<ThingTypeName, BTreeSet<String>>,
}

/// A thing type as AWS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingTypeSeen {
    /// What it is for.
    pub description: String,
    /// The attributes one can search by.
    pub searchable_attributes: BTreeSet<AttributeName>,
    /// No new thing may have it.
    pub deprecated: bool,
}

/// A thing group as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// The group above it.
    pub parent: Option<String>,
    /// What it is for.
    pub description: String,
    /// Its attributes.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// AWS fills it by a query.
    pub dynamic: bool,
    /// The policies attached to it.
    pub policies: BTreeSet<String>,
}

/// One effect of applying a catalog. Each is *ensured*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Create a thing type.
    ThingType(ThingType),
    /// Create a policy.
    Policy(Policy),
    /// Create a billing group.
    BillingGroup(BillingGroup),
    /// Create a static group, so many levels below the root of its hierarchy.
    Group {
        /// The group.
        group: Group,
        /// How many groups are above it.
        depth: usize,
    },
    /// Attach a policy to a group.
    Attachment {
        /// The policy.
        policy: PolicyName,
        /// The group.
        group: GroupName,
    },
    /// Record where devices of a type leave retained messages.
    Topics {
        /// The type.
        thing_type: ThingTypeName,
        /// All topics, those known before included.
        topics: BTreeSet<String>,
    },
    /// Record a profile.
    Profile(Profile),
}

/// One line of a plan, as the caller reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// Something that is there and differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
    /// In what it differs.
    pub differs: Vec<&'static str>,
    /// The same in a sentence.
    pub reason: String,
}

/// The comparison of a catalog with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogPlan {
    /// What is missing, what others depend on first.
    pub create: Vec<Item>,
    /// What is there, as declared.
    pub unchanged: Vec<Entry>,
    /// What is there and differs. With any of these nothing is applied.
    pub refused: Vec<Refusal>,
}

impl Item {
    /// The item as the caller reads it.
    pub fn entry(&self) -> Entry {
        let entry = |kind, name: &str| Entry {
            kind,
            name: name.to_owned(),
        };
        match self {
            Self::ThingType(t) => entry("thing type", t.name.as_str()),
            Self::Policy(p) => entry("policy", p.name.as_str()),
            Self::BillingGroup(b) => entry("billing group", b.name.as_str()),
            Self::Group { group, .. } => entry("group", group.name.as_str()),
            Self::Attachment { policy, group } => {
                entry("attachment", &format!("{policy} to {group}"))
            }
            Self::Topics { thing_type, .. } => entry("retained topics", thing_type.as_str()),
            Self::Profile(p) => entry("profile", p.name.as_str()),
        }
    }

    /// Items of one stage do not depend on each other. A profile is last: once
    /// it is there, devices may be claimed, and need all the rest.
    const fn stage(&self) -> usize {
        match self {
            Self::ThingType(_) | Self::Policy(_) | Self::BillingGroup(_) => 0,
            Self::Group { depth, .. } => 1 + *depth,
            Self::Attachment { .. } => usize::MAX - 2,
            Self::Topics { .. } => usize::MAX - 1,
            Self::Profile(_) => usize::MAX,
        }
    }
}

/// The items in stages, to be done one after the other.
pub fn stages(items: &[Item]) -> impl Iterator<Item = &[Item]> {
    items.chunk_by(|a, b| a.stage() == b.stage())
}

/// Compares a catalog with what is there.
pub fn plan(catalog: &Catalog, seen: &Observed) -> CatalogPlan {
    let mut plan = CatalogPlan::default();
    for declared in &catalog.thing_types {
        let found = seen.thing_types.get(&declared.name);
        plan.compare(
            Item::ThingType(declared.clone()),
            found.map(|found| thing_type_differs(declared, found)),
        );
    }
    for declared in &catalog.policies {
        if seen.stopped.contains(&declared.name) {
            plan.refuse_stopped(declared);
            continue;
        }
        let found = seen.policies.get(&declared.name);
        plan.compare(
            Item::Policy(declared.clone()),
            found.map(|found| differing([("document", *found != declared.document)])),
        );
    }
    for declared in &catalog.billing_groups {
        let found = seen.billing_groups.get(&declared.name);
        plan.compare(
            Item::BillingGroup(declared.clone()),
            found.map(|found| differing([("description", *found != declared.description)])),
        );
    }
    for declared in &catalog.groups {
        plan.compare_group(catalog, declared, seen.groups.get(&declared.name));
    }
    for (thing_type, declared) in catalog.topics() {
        // Topics are only added: a device may have left a message on an old one.
        let found = seen.topics.get(&thing_type);
        let topics: BTreeSet<_> = declared
            .iter()
            .chain(found.into_iter().flatten())
            .cloned()
            .collect();
        let known = (found == Some(&topics)).then(Vec::new);
        plan.compare(Item::Topics { thing_type, topics }, known);
    }
    for declared in &catalog.profiles {
        let found = seen.profiles.get(&declared.name);
        plan.compare(
            Item::Profile(declared.clone()),
            found.map(|found| profile_differs(declared, found)),
        );
    }
    plan.create.sort_by_key(Item::stage);
    plan
}

impl CatalogPlan {
    /// Adds an item, by what differs in what was found, if anything was.
    fn compare(&mut self, item: Item, found: Option<Vec<&'static str>>) {
        match found {
            None => self.create.push(item),
            Some(differs) if differs.is_empty() => self.unchanged.push(item.entry()),
            Some(differs) => {
                let entry = item.entry();
                let reason = format!(
                    "the {} {} is there and differs in {}; changes come later",
                    entry.kind,
                    entry.name,
                    differs.join(", ")
                );
                self.refused.push(Refusal {
                    entry,
                    differs,
                    reason,
                });
            }
        }
    }

    /// A policy that was stopped is left alone until it is resumed, be it as
    /// declared or not.
    fn refuse_stopped(&mut self, declared: &Policy) {
        self.refused.push(Refusal {
            entry: Item::Policy(declared.clone()).entry(),
            differs: vec!["stopped"],
            reason: format!("the policy {} is stopped; resume it first", declared.name),
        });
    }

    fn compare_group(&mut self, catalog: &Catalog, declared: &Group, found: Option<&GroupSeen>) {
        let depth = catalog.lineage(&declared.name).count().saturating_sub(1);
        self.compare(
            Item::Group {
                group: declared.clone(),
                depth,
            },
            found.map(|found| group_differs(declared, found)),
        );
        for policy in &declared.policies {
            let attached = found.is_some_and(|found| found.policies.contains(policy.as_str()));
            self.compare(
                Item::Attachment {
                    policy: policy.clone(),
                    group: declared.name.clone(),
                },
                attached.then(Vec::new),
            );
        }
    }
}

fn thing_type_differs(declared: &ThingType, found: &ThingTypeSeen) -> Vec<&'static str> {
    differing([
        ("description", declared.description != found.description),
        (
            "searchableAttributes",
            declared.searchable_attributes != found.searchable_attributes,
        ),
        ("deprecated", found.deprecated),
    ])
}

fn group_differs(declared: &Group, found: &GroupSeen) -> Vec<&'static str> {
    // A policy that is not attached yet is missing; one too many is a change.
    let more = found
        .policies
        .iter()
        .any(|name| !declared.policies.iter().any(|p| p.as_str() == name));
    differing([
        ("dynamic", found.dynamic),
        (
            "parent",
            declared.parent.as_ref().map(GroupName::as_str) != found.parent.as_deref(),
        ),
        ("description", declared.description != found.description),
        ("attributes", declared.attributes != found.attributes),
        ("policies", more),
    ])
}

fn profile_differs(declared: &Profile, found: &Profile) -> Vec<&'static str> {
    differing([
        ("thingType", declared.thing_type != found.thing_type),
        ("groups", declared.groups != found.groups),
        (
            "billingGroup",
            declared.billing_group != found.billing_group,
        ),
        ("attributes", declared.attributes != found.attributes),
        ("issuer", declared.issuer != found.issuer),
        (
            "claimCertificateIds",
            declared.claim_certificate_ids != found.claim_certificate_ids,
        ),
        (
            "retainedTopics",
            declared.retained_topics != found.retained_topics,
        ),
    ])
}

fn differing<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    fields
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
}
