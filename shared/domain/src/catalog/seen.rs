//! What one look found of a catalog's organisation.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::item::Owned;
use super::{Definition, JobTemplate, TypeRow};
use crate::claim::Profile;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, CatalogName, GroupName, JobTemplateName,
    PolicyName, ProfileName, ThingTypeName,
};
use crate::time::Moment;

/// What is there of what a catalog names, and of what earlier ones made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What catalogs of this name made; everything else is left as it is.
    pub owned: BTreeSet<Owned>,
    /// What other catalogs made, and which.
    pub others: BTreeMap<Owned, CatalogName>,
    /// Thing types, by AWS's names.
    pub thing_types: BTreeMap<ThingTypeName, ThingTypeSeen>,
    /// Which of AWS's types a declared type is now.
    pub type_rows: BTreeMap<ThingTypeName, TypeRow>,
    /// The documents of policies.
    pub policies: BTreeMap<PolicyName, Value>,
    /// The policies that somebody has stopped.
    pub stopped: BTreeSet<PolicyName>,
    /// Thing groups.
    pub groups: BTreeMap<GroupName, GroupSeen>,
    /// The groups below a group that no catalog made.
    pub foreign_children: BTreeMap<GroupName, Vec<String>>,
    /// Billing groups.
    pub billing_groups: BTreeMap<BillingGroupName, BillingGroupSeen>,
    /// Profiles.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// Where devices of a type leave retained messages.
    pub topics: BTreeMap<ThingTypeName, BTreeSet<String>>,
    /// Definitions of dynamic groups.
    pub dynamic_groups: BTreeMap<GroupName, Definition>,
    /// AWS's groups of the names of declared dynamic groups that are to be
    /// materialised, or materialised otherwise.
    pub materialised: BTreeMap<GroupName, GroupSeen>,
    /// Job templates.
    pub job_templates: BTreeMap<JobTemplateName, JobTemplate>,
    /// Who uses what [`looks`](super::looks) asked for. Nobody uses what is
    /// not in here.
    pub users: BTreeMap<Owned, Users>,
}

/// A thing type as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingTypeSeen {
    /// What it is for.
    pub description: String,
    /// The attributes one can search by.
    pub searchable_attributes: BTreeSet<AttributeName>,
    /// No new thing may have it.
    pub deprecated: bool,
    /// Since when.
    pub deprecated_at: Option<Moment>,
}

/// A thing group as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// The group above it.
    pub parent: Option<String>,
    /// How many groups are above it.
    pub depth: usize,
    /// What it is for.
    pub description: String,
    /// Its attributes.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// AWS fills it by a query.
    pub dynamic: bool,
    /// The policies attached to it.
    pub policies: BTreeSet<String>,
}

/// A billing group as AWS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BillingGroupSeen {
    /// What it is for.
    pub description: String,
    /// Its tags, without AWS's own.
    pub tags: BTreeMap<String, String>,
}

/// Who uses something: the first names, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Users {
    /// Some of them.
    pub first: Vec<String>,
    /// How many were counted.
    pub count: usize,
    /// Whether there are more than were counted.
    pub more: bool,
}

impl Users {
    /// How many of them are shown.
    pub const SHOWN: usize = 10;

    /// Everybody of these names.
    pub fn all(names: Vec<String>, more: bool) -> Self {
        let count = names.len();
        let first = names.into_iter().take(Self::SHOWN).collect();
        Self { first, count, more }
    }

    /// The same in words: `a, b and 3 more`.
    pub fn text(&self) -> String {
        let first = self.first.join(", ");
        let rest = self.count - self.first.len();
        match (rest, self.more) {
            (0, false) => first,
            (rest, false) => format!("{first} and {rest} more"),
            (rest, true) => format!("{first} and more than {rest} more"),
        }
    }
}
