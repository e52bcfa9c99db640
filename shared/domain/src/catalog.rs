//! The catalog: the fleet's declared organisation.
//!
//! [`Catalog::parse`] checks it, [`plan`](plan()) compares it with what is
//! there. What is missing is made, and what an earlier catalog made is changed
//! or removed. What somebody else made is left as it is: where it differs, the
//! catalog is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Profile;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, CatalogName, GroupName, PolicyName,
    ThingTypeName,
};

mod advice;
mod asked;
mod definition;
mod document;
mod item;
mod moving;
mod parse;
mod plan;
mod removal;
mod sections;
mod seen;
mod template;
#[cfg(test)]
mod tests;
mod thing_type;
mod together;
mod versions;

pub use advice::Warning;
pub use asked::Asked;
pub use definition::{
    Definition, DefinitionRow, DefinitionStatus, Materialize, OnEnter, native_refused,
};
pub use document::check_document;
pub use item::{Action, Change, Entry, Field, Item, ItemKind, Owned, OwnedRow, Step, stages};
pub use moving::{move_instead, move_request};
pub use plan::{CatalogPlan, Kept, Refusal, plan};
pub use removal::looks;
pub use seen::{BillingGroupSeen, GroupSeen, Observed, ThingTypeSeen, Users};
pub use template::JobTemplate;
pub use thing_type::{DEPRECATED_MILLIS, TypeRow};
pub use together::{check_put, is_static};
pub use versions::{NextVersion, next_version};

/// A checked catalog: every reference leads somewhere within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Its name. Catalogs of different names leave alone what is each other's.
    pub name: CatalogName,
    /// Thing types.
    pub thing_types: Vec<ThingType>,
    /// Policies.
    pub policies: Vec<Policy>,
    /// Static thing groups, parents before their children.
    pub groups: Vec<Group>,
    /// Billing groups.
    pub billing_groups: Vec<BillingGroup>,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Definitions of dynamic groups.
    pub dynamic_groups: Vec<Definition>,
    /// Job templates.
    pub job_templates: Vec<JobTemplate>,
    /// What is allowed and hardly meant.
    pub warnings: Vec<Warning>,
}

/// A thing type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThingType {
    /// Its name.
    pub name: ThingTypeName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The attributes that AWS lets one search by: at most three, for ever.
    #[serde(default)]
    pub searchable_attributes: BTreeSet<AttributeName>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Its document.
    pub document: Value,
}

/// A static thing group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The group above it.
    #[serde(default)]
    pub parent: Option<GroupName>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// The policies of its members, and of the members of the groups below it.
    #[serde(default)]
    pub policies: BTreeSet<PolicyName>,
}

/// A billing group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BillingGroup {
    /// Its name.
    pub name: BillingGroupName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its tags, by which an invoice can be split.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Catalog {
    /// The group of this name and every group above it, upwards.
    fn lineage<'a>(&'a self, name: &'a GroupName) -> impl Iterator<Item = &'a Group> {
        let find = |name: &GroupName| self.groups.iter().find(|group| group.name == *name);
        // `parse` has refused cycles; the bound is for while it looks for them.
        std::iter::successors(find(name), move |group| {
            group.parent.as_ref().and_then(find)
        })
        .take(self.groups.len() + 1)
    }

    /// Where devices of each type leave retained messages: all that the
    /// type's profiles declare.
    pub fn topics(&self) -> BTreeMap<ThingTypeName, BTreeSet<String>> {
        let mut topics = BTreeMap::<_, BTreeSet<_>>::new();
        for profile in &self.profiles {
            if let (Some(thing_type), false) =
                (&profile.thing_type, profile.retained_topics.is_empty())
            {
                topics
                    .entry(thing_type.clone())
                    .or_default()
                    .extend(profile.retained_topics.iter().cloned());
            }
        }
        topics
    }
}
