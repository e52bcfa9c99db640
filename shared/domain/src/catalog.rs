//! The catalog: the fleet's declared organisation.
//!
//! [`Catalog::parse`] checks it, [`plan`](plan()) compares it with what is
//! there. What is missing is created; what is there and differs is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Profile;
use crate::failure::Failure;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, PolicyName, ThingTypeName,
};
use crate::quote::quoted;

mod document;
mod parse;
mod plan;
#[cfg(test)]
mod tests;

pub use document::check_document;
pub use plan::{
    CatalogPlan, Entry, GroupSeen, Item, Observed, Refusal, ThingTypeSeen, plan, stages,
};

/// A checked catalog: every reference leads somewhere within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
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

/// Whether a query string asks for a plan only. What it does not know it
/// refuses: a misspelt `dryRun` must not apply anything.
pub fn is_dry_run(query: &str) -> Result<bool, Failure> {
    match query {
        "" | "dryRun=false" => Ok(false),
        "dryRun=true" => Ok(true),
        _ => Err(Failure::invalid(
            "dryRun",
            format!("{} is no query of this route", quoted(query)),
            "Use dryRun=true to plan only, or no query at all.",
        )),
    }
}
