//! The effects of applying a catalog, and how a caller reads them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BillingGroup, Definition, Group, JobTemplate, Policy, ThingType, TypeRow};
use crate::claim::Profile;
use crate::names::{
    BillingGroupName, CatalogName, GroupName, JobTemplateName, PolicyName, ProfileName,
    ThingTypeName,
};

/// What something of a catalog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A thing type.
    #[serde(rename = "thing type")]
    ThingType,
    /// A policy.
    Policy,
    /// A billing group.
    #[serde(rename = "billing group")]
    BillingGroup,
    /// A static group.
    Group,
    /// A policy attached to a group.
    Attachment,
    /// Where devices of a type leave retained messages.
    #[serde(rename = "retained topics")]
    RetainedTopics,
    /// A definition of a dynamic group.
    #[serde(rename = "dynamic group")]
    DynamicGroup,
    /// A job template.
    #[serde(rename = "job template")]
    JobTemplate,
    /// A profile.
    Profile,
}

impl ItemKind {
    /// The kind as a person reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThingType => "thing type",
            Self::Policy => "policy",
            Self::BillingGroup => "billing group",
            Self::Group => "group",
            Self::Attachment => "attachment",
            Self::RetainedTopics => "retained topics",
            Self::DynamicGroup => "dynamic group",
            Self::JobTemplate => "job template",
            Self::Profile => "profile",
        }
    }
}

/// Something that a catalog made, under the name that the catalog declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owned {
    /// What it is.
    pub kind: ItemKind,
    /// Its name.
    pub name: String,
}

impl Owned {
    /// Something by its kind and name.
    pub fn new(kind: ItemKind, name: impl ToString) -> Self {
        Self {
            kind,
            name: name.to_string(),
        }
    }
}

/// `CATALOG / catalog#kind#name`: which catalog made something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedRow {
    /// The catalog.
    pub catalog: CatalogName,
    /// What it made.
    #[serde(flatten)]
    pub owned: Owned,
}

/// One thing, as the caller reads it.
pub type Entry = Owned;

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed where it stands.
    Update,
    /// It cannot be changed, so another takes its place.
    Replace,
    /// Devices are moved from one to the other.
    Migrate,
    /// Devices are taken out of it.
    Drain,
    /// It goes.
    Delete,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what.
    #[serde(flatten)]
    pub entry: Entry,
    /// What differs before and after.
    pub fields: Vec<Field>,
    /// What a person should know besides.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One field that changes; null is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The path to it.
    pub field: String,
    /// What is there.
    pub before: Value,
    /// What will be.
    pub after: Value,
}

/// One effect, and the line that announces it; bookkeeping has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line.
    pub change: Option<Change>,
    /// The effect.
    pub item: Item,
}

/// One effect of applying a catalog. Each is *ensured*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Create a thing type, under AWS's name. The declared name is the owner's.
    ThingType {
        /// The type.
        made: ThingType,
        /// The name that the catalog declares.
        declared: ThingTypeName,
    },
    /// Record which of AWS's types the declared one is from now on.
    Switch(TypeRow),
    /// Deprecate one of AWS's types, or undo that.
    Deprecate(ThingTypeName, bool),
    /// Give all things of one type another.
    Migrate {
        /// From this one,
        from: ThingTypeName,
        /// to that one.
        to: ThingTypeName,
    },
    /// Delete one of AWS's types; the row as it will be, if it stays.
    DeleteType {
        /// AWS's name.
        name: ThingTypeName,
        /// The declared type.
        declared: ThingTypeName,
        /// Its row after that, or that the declared type is gone as well.
        row: Option<TypeRow>,
    },
    /// Create a policy.
    Policy(Policy),
    /// Make another document the policy's.
    PolicyVersion(Policy),
    /// Delete a policy with all its versions.
    DeletePolicy(PolicyName),
    /// Create a billing group.
    BillingGroup(BillingGroup),
    /// Change its description and tags.
    UpdateBillingGroup {
        /// The group.
        group: BillingGroup,
        /// The tags it has and should not have.
        untag: BTreeSet<String>,
    },
    /// Delete a billing group.
    DeleteBillingGroup(BillingGroupName),
    /// Create a static group, so many levels below the root of its hierarchy.
    Group {
        /// The group.
        group: Group,
        /// How many groups are above it.
        depth: usize,
    },
    /// Change its description and attributes.
    UpdateGroup {
        /// The group.
        group: Group,
        /// How many groups are above it.
        depth: usize,
    },
    /// Delete an empty group and create it under another parent.
    MoveGroup {
        /// The group.
        group: Group,
        /// How many groups will be above it.
        depth: usize,
    },
    /// Delete a group.
    DeleteGroup {
        /// The group.
        name: GroupName,
        /// How many groups are above it.
        depth: usize,
    },
    /// Attach a policy to a group.
    Attach {
        /// The policy.
        policy: PolicyName,
        /// The group.
        group: GroupName,
    },
    /// Detach a policy from a group.
    Detach {
        /// The policy.
        policy: PolicyName,
        /// The group.
        group: GroupName,
    },
    /// Record where devices of a type leave retained messages.
    Topics {
        /// The type, by AWS's name.
        thing_type: ThingTypeName,
        /// All topics, those known before included.
        topics: BTreeSet<String>,
    },
    /// Record a definition.
    Definition(Definition),
    /// Forget a definition.
    ForgetDefinition(GroupName),
    /// Record a job template.
    JobTemplate(JobTemplate),
    /// Forget a job template.
    ForgetJobTemplate(JobTemplateName),
    /// Record a profile.
    Profile(Profile),
    /// Forget a profile.
    ForgetProfile(ProfileName),
    /// Take every device out of a group.
    DrainGroup(GroupName),
    /// Take every device out of a billing group.
    DrainBillingGroup(BillingGroupName),
    /// Forget that a catalog made something that is there no more.
    Disown(Owned),
}

impl Item {
    /// Items of one stage do not depend on each other. A profile is the last
    /// that is made: once it is there, devices may be claimed, and need all the
    /// rest. Nothing is removed before everything that replaces it is there.
    const fn stage(&self) -> usize {
        match self {
            Self::ThingType { .. }
            | Self::Policy(_)
            | Self::PolicyVersion(_)
            | Self::BillingGroup(_)
            | Self::UpdateBillingGroup { .. } => 0,
            Self::Topics { .. } => 1,
            Self::Switch(_) => 2,
            Self::Deprecate(..) => 3,
            Self::Group { depth, .. }
            | Self::UpdateGroup { depth, .. }
            | Self::MoveGroup { depth, .. } => 10 + *depth,
            Self::Attach { .. } => 30,
            Self::Detach { .. } => 31,
            Self::JobTemplate(_) => 32,
            Self::Definition(_) | Self::ForgetDefinition(_) => 33,
            Self::ForgetJobTemplate(_) => 34,
            Self::Profile(_) => 35,
            Self::ForgetProfile(_) => 36,
            Self::Migrate { .. } | Self::DrainGroup(_) | Self::DrainBillingGroup(_) => 37,
            // Children first; a hierarchy is seven levels deep at most.
            Self::DeleteGroup { depth, .. } => 60 - *depth,
            Self::DeleteBillingGroup(_) => 61,
            Self::DeletePolicy(_) => 62,
            Self::DeleteType { .. } => 63,
            Self::Disown(_) => 64,
        }
    }

    /// What is the catalog's from now on.
    pub fn makes(&self) -> Option<Owned> {
        Some(match self {
            Self::ThingType { declared, .. } => Owned::new(ItemKind::ThingType, declared),
            Self::Policy(p) => Owned::new(ItemKind::Policy, &p.name),
            Self::BillingGroup(b) => Owned::new(ItemKind::BillingGroup, &b.name),
            Self::Group { group, .. } => Owned::new(ItemKind::Group, &group.name),
            Self::Definition(d) => Owned::new(ItemKind::DynamicGroup, &d.name),
            Self::JobTemplate(t) => Owned::new(ItemKind::JobTemplate, &t.name),
            Self::Profile(p) => Owned::new(ItemKind::Profile, &p.name),
            _ => return None,
        })
    }

    /// What is the catalog's no more.
    pub fn removes(&self) -> Option<Owned> {
        Some(match self {
            Self::DeleteType {
                declared,
                row: None,
                ..
            } => Owned::new(ItemKind::ThingType, declared),
            Self::DeletePolicy(name) => Owned::new(ItemKind::Policy, name),
            Self::DeleteBillingGroup(name) => Owned::new(ItemKind::BillingGroup, name),
            Self::DeleteGroup { name, .. } => Owned::new(ItemKind::Group, name),
            Self::ForgetDefinition(name) => Owned::new(ItemKind::DynamicGroup, name),
            Self::ForgetJobTemplate(name) => Owned::new(ItemKind::JobTemplate, name),
            Self::ForgetProfile(name) => Owned::new(ItemKind::Profile, name),
            Self::Disown(owned) => owned.clone(),
            _ => return None,
        })
    }

    /// Whether effects of this kind are done one after the other: every
    /// definition changes the one row that counts the changes of all.
    pub const fn one_by_one(&self) -> bool {
        matches!(self, Self::Definition(_) | Self::ForgetDefinition(_))
    }
}

/// The steps in stages, to be done one after the other.
pub fn stages(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| a.item.stage() == b.item.stage())
}

/// Puts steps into the order in which they are done.
pub(super) fn in_order(steps: &mut [Step]) {
    steps.sort_by_key(|step| step.item.stage());
}

/// The fields in which two values differ, deepest first named. Lists of one
/// length are compared element by element, others whole.
pub(super) fn differences(path: &str, before: &Value, after: &Value) -> Vec<Field> {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match (before, after) {
        (before, after) if before == after => Vec::new(),
        (Value::Object(b), Value::Object(a)) => {
            let names: BTreeSet<_> = b.keys().chain(a.keys()).collect();
            let side = |of: &Map<String, Value>, name: &str| of.get(name).cloned();
            names
                .into_iter()
                .flat_map(|name| {
                    let (b, a) = (side(b, name), side(a, name));
                    differences(&below(name), &b.unwrap_or_default(), &a.unwrap_or_default())
                })
                .collect()
        }
        (Value::Array(b), Value::Array(a))
            if b.len() == a.len() && a.iter().any(Value::is_object) =>
        {
            b.iter()
                .zip(a)
                .enumerate()
                .flat_map(|(i, (b, a))| differences(&format!("{path}[{i}]"), b, a))
                .collect()
        }
        (before, after) => vec![Field {
            field: path.to_owned(),
            before: before.clone(),
            after: after.clone(),
        }],
    }
}

/// A value's fields, without its name and without what is empty.
pub(super) fn shown(value: &impl Serialize) -> Value {
    let Ok(Value::Object(fields)) = serde_json::to_value(value) else {
        return Value::Null;
    };
    fields
        .into_iter()
        .filter(|(name, value)| name != "name" && !is_empty(value))
        .collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
