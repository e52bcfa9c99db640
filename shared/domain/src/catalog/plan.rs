//! What is missing of a catalog, what is there, and what differs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::item::{
    Action, Change, Entry, Field, Item, ItemKind, Owned, Step, differences, in_order, shown,
};
use super::{
    BillingGroup, BillingGroupSeen, Catalog, Definition, Group, GroupSeen, Observed, Policy, Users,
};
use crate::failure::Failure;
use crate::names::{GroupName, PolicyName, ThingTypeName};
use crate::time::Moment;

/// Something that cannot be made as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
    /// In what it differs.
    pub fields: Vec<Field>,
    /// Why.
    pub reason: String,
    /// What can be done about it.
    pub remedy: String,
    /// Who uses it, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
}

/// Something that is left as it is for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
    /// Why.
    pub reason: String,
}

/// The comparison of a catalog with what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogPlan {
    /// What is to be done, in order.
    pub steps: Vec<Step>,
    /// What is there, as declared.
    pub unchanged: Vec<Entry>,
    /// What cannot be. With any of these nothing is applied.
    pub refused: Vec<Refusal>,
    /// What is left alone because somebody has stopped it.
    pub kept: Vec<Kept>,
    /// What can only be done later.
    pub waiting: Vec<Kept>,
}

/// A plan in the making.
pub(super) struct Planner<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) seen: &'a Observed,
    pub(super) drain: bool,
    pub(super) now: Moment,
    /// Which of AWS's types each declared one will be.
    pub(super) current: BTreeMap<ThingTypeName, ThingTypeName>,
    pub(super) plan: CatalogPlan,
}

/// Compares a catalog with what is there. `drain` is whether devices may be
/// taken out of what is removed.
pub fn plan(catalog: &Catalog, seen: &Observed, drain: bool, now: Moment) -> CatalogPlan {
    let mut planner = Planner {
        catalog,
        seen,
        drain,
        now,
        current: BTreeMap::new(),
        plan: CatalogPlan::default(),
    };
    for declared in &catalog.thing_types {
        planner.thing_type(declared);
    }
    for declared in &catalog.policies {
        planner.policy(declared);
    }
    for declared in &catalog.billing_groups {
        planner.billing_group(declared);
    }
    for declared in &catalog.groups {
        planner.group(declared);
    }
    planner.topics();
    planner.rows();
    planner.removals();
    in_order(&mut planner.plan.steps);
    planner.plan
}

impl Planner<'_> {
    pub(super) fn owns(&self, owned: &Owned) -> bool {
        self.seen.owned.contains(owned)
    }

    /// Who uses something, if anybody does.
    pub(super) fn users(&self, owned: &Owned) -> Option<&Users> {
        self.seen.users.get(owned).filter(|users| users.count > 0)
    }

    pub(super) fn step(
        &mut self,
        action: Action,
        entry: Entry,
        fields: Vec<Field>,
        note: &str,
        item: Item,
    ) {
        let change = Change {
            action,
            entry,
            fields,
            note: note.to_owned(),
        };
        self.plan.steps.push(Step {
            change: Some(change),
            item,
        });
    }

    /// An effect that nobody needs to read about.
    pub(super) fn quietly(&mut self, item: Item) {
        self.plan.steps.push(Step { change: None, item });
    }

    pub(super) fn refuse(
        &mut self,
        entry: Entry,
        fields: Vec<Field>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.plan.refused.push(Refusal {
            entry,
            fields,
            reason: reason.into(),
            remedy: remedy.into(),
            users: None,
        });
    }

    /// Refuses what is there, differs, and is not the catalog's to change.
    pub(super) fn refuse_foreign(&mut self, entry: Entry, fields: Vec<Field>) {
        let differing: Vec<_> = fields.iter().map(|f| f.field.as_str()).collect();
        let (maker, remedy) = match self.seen.others.get(&entry) {
            Some(other) => (
                format!("the catalog {other} made it"),
                "Declare it as it is, choose another name, or change it in that catalog.",
            ),
            None => (
                "no catalog made it".to_owned(),
                "Declare it as it is, choose another name, or delete it in AWS IoT.",
            ),
        };
        let reason = format!(
            "the {} {} is there, {maker}, and it differs in {}",
            entry.kind.name(),
            entry.name,
            differing.join(", ")
        );
        self.refuse(entry, fields, reason, remedy);
    }

    pub(super) fn refuse_used(&mut self, entry: Entry, users: Users, remedy: &str) {
        let reason = format!(
            "the {} {} is no longer declared and still in use by {}",
            entry.kind.name(),
            entry.name,
            users.text()
        );
        self.plan.refused.push(Refusal {
            entry,
            fields: Vec::new(),
            reason,
            remedy: remedy.to_owned(),
            users: Some(users),
        });
    }

    /// The usual case: made where it is missing, changed where it is ours and
    /// differs.
    fn compare(
        &mut self,
        entry: Entry,
        found: Option<&Value>,
        declared: &Value,
        make: Item,
        change: Item,
    ) {
        let Some(found) = found else {
            let fields = differences("", &json!({}), declared);
            self.step(Action::Create, entry, fields, "", make);
            return;
        };
        let fields = differences("", found, declared);
        if fields.is_empty() {
            self.plan.unchanged.push(entry);
        } else if self.owns(&entry) {
            self.step(Action::Update, entry, fields, "", change);
        } else {
            self.refuse_foreign(entry, fields);
        }
    }

    fn policy(&mut self, declared: &Policy) {
        let entry = Owned::new(ItemKind::Policy, &declared.name);
        if self.seen.stopped.contains(&declared.name) {
            self.keep_stopped(entry);
            return;
        }
        let found = self.seen.policies.get(&declared.name);
        self.compare(
            entry,
            found
                .map(|document| json!({ "document": document }))
                .as_ref(),
            &json!({ "document": declared.document }),
            Item::Policy(declared.clone()),
            Item::PolicyVersion(declared.clone()),
        );
    }

    fn billing_group(&mut self, declared: &BillingGroup) {
        let found = self.seen.billing_groups.get(&declared.name);
        let tags = found.into_iter().flat_map(|found| found.tags.keys());
        let untag = tags.filter(|name| !declared.tags.contains_key(*name));
        self.compare(
            Owned::new(ItemKind::BillingGroup, &declared.name),
            found.map(billing_fields).as_ref(),
            &shown(declared),
            Item::BillingGroup(declared.clone()),
            Item::UpdateBillingGroup {
                group: declared.clone(),
                untag: untag.cloned().collect(),
            },
        );
    }

    fn group(&mut self, declared: &Group) {
        let seen = self.seen;
        let entry = Owned::new(ItemKind::Group, &declared.name);
        let depth = self
            .catalog
            .lineage(&declared.name)
            .count()
            .saturating_sub(1);
        let group = declared.clone();
        let found = seen.groups.get(&declared.name);
        let mut attached = found;
        match found {
            Some(found) if found.dynamic => {
                let reason = format!("{} is a dynamic group of AWS's", declared.name);
                self.refuse(entry, Vec::new(), reason, "Choose another name.");
                return;
            }
            Some(found) if self.owns(&entry) && parent_differs(declared, found) => {
                if !self.may_move(&entry, declared, found) {
                    return;
                }
                let fields = differences("", &group_fields(found), &declared_fields(declared));
                let note = "AWS cannot move a group: it is deleted and created anew";
                let item = Item::MoveGroup { group, depth };
                self.step(Action::Replace, entry, fields, note, item);
                attached = None;
            }
            _ => self.compare(
                entry,
                found.map(group_fields).as_ref(),
                &declared_fields(declared),
                Item::Group {
                    group: group.clone(),
                    depth,
                },
                Item::UpdateGroup { group, depth },
            ),
        }
        self.attachments(declared, attached);
    }

    /// A group can be made anew under another parent while nothing is in it.
    fn may_move(&mut self, entry: &Owned, declared: &Group, found: &GroupSeen) -> bool {
        let seen = self.seen;
        let below = |(name, group): (&GroupName, &GroupSeen)| {
            (group.parent.as_deref() == Some(declared.name.as_str())).then(|| name.to_string())
        };
        let foreign = seen.foreign_children.get(&declared.name).cloned();
        let children: Vec<_> = seen
            .groups
            .iter()
            .filter_map(below)
            .chain(foreign.into_iter().flatten())
            .collect();
        let users = if children.is_empty() {
            self.users(entry).cloned()
        } else {
            Some(Users::all(children, false))
        };
        let Some(users) = users else { return true };
        let fields = differences("", &group_fields(found), &declared_fields(declared));
        self.plan.refused.push(Refusal {
            entry: entry.clone(),
            fields,
            reason: format!(
                "AWS cannot move a group to another parent, and {} is not empty: {} in it",
                declared.name,
                users.text()
            ),
            remedy: "Declare a group of another name, move the devices there with lamp device \
                     update, and remove this one then."
                .to_owned(),
            users: Some(users),
        });
        false
    }

    fn attachments(&mut self, declared: &Group, found: Option<&GroupSeen>) {
        let group_owned = self.owns(&Owned::new(ItemKind::Group, &declared.name));
        for policy in &declared.policies {
            let entry = attachment(policy.as_str(), &declared.name);
            let there = found.is_some_and(|found| found.policies.contains(policy.as_str()));
            if there {
                self.plan.unchanged.push(entry);
            } else if self.seen.stopped.contains(policy) {
                self.keep_stopped(Owned::new(ItemKind::Policy, policy));
            } else if found.is_some() && !group_owned {
                let fields = differences("policies", &Value::Null, &policy.as_str().into());
                self.refuse_foreign(Owned::new(ItemKind::Group, &declared.name), fields);
            } else {
                let item = Item::Attach {
                    policy: policy.clone(),
                    group: declared.name.clone(),
                };
                self.step(Action::Create, entry, Vec::new(), "", item);
            }
        }
        let more = found.into_iter().flat_map(|found| &found.policies);
        let more: Vec<_> = more
            .filter(|name| !declared.policies.iter().any(|p| p.as_str() == *name))
            .collect();
        for policy in more {
            if group_owned {
                self.detach(policy, &declared.name);
            } else {
                let fields = differences("policies", &policy.as_str().into(), &Value::Null);
                self.refuse_foreign(Owned::new(ItemKind::Group, &declared.name), fields);
            }
        }
    }

    /// Takes a policy off a group, unless it is one that somebody has stopped:
    /// its devices would go on.
    pub(super) fn detach(&mut self, policy: &str, group: &GroupName) {
        let Ok(name) = PolicyName::parse(policy) else {
            return;
        };
        if self.seen.stopped.contains(&name) {
            self.keep_stopped(Owned::new(ItemKind::Policy, &name));
            return;
        }
        let entry = attachment(policy, group);
        let item = Item::Detach {
            policy: name,
            group: group.clone(),
        };
        self.step(Action::Delete, entry, Vec::new(), "", item);
    }

    fn topics(&mut self) {
        for (thing_type, declared) in self.catalog.topics() {
            let current = self.current.get(&thing_type).unwrap_or(&thing_type).clone();
            // Topics are only added: a device may have left a message on an old one.
            let known = |name| self.seen.topics.get(name).into_iter().flatten();
            let topics: std::collections::BTreeSet<_> = declared
                .iter()
                .chain(known(&thing_type))
                .chain(known(&current))
                .cloned()
                .collect();
            let entry = Owned::new(ItemKind::RetainedTopics, &current);
            let found = self.seen.topics.get(&current);
            if found == Some(&topics) {
                self.plan.unchanged.push(entry);
                continue;
            }
            let before = found.map_or(Value::Null, |found| json!(found));
            let action = found.map_or(Action::Create, |_| Action::Update);
            let fields = differences("topics", &before, &json!(topics));
            let item = Item::Topics {
                thing_type: current,
                topics,
            };
            self.step(action, entry, fields, "", item);
        }
    }

    /// What stands in the registry alone.
    fn rows(&mut self) {
        let (catalog, seen) = (self.catalog, self.seen);
        for declared in &catalog.dynamic_groups {
            let before = seen.dynamic_groups.get(&declared.name);
            let entry = Owned::new(ItemKind::DynamicGroup, &declared.name);
            if let Err(taken) = self.may_materialise(declared, before) {
                self.refuse(entry, Vec::new(), taken.reason, taken.remedy);
                continue;
            }
            self.row_of(
                entry,
                before.map(shown),
                &shown(declared),
                Item::Definition(declared.clone()),
            );
        }
        for declared in &catalog.job_templates {
            let found = seen.job_templates.get(&declared.name).map(shown);
            let entry = Owned::new(ItemKind::JobTemplate, &declared.name);
            self.row_of(
                entry,
                found,
                &shown(declared),
                Item::JobTemplate(declared.clone()),
            );
        }
        for declared in &catalog.profiles {
            let found = seen.profiles.get(&declared.name).map(shown);
            let entry = Owned::new(ItemKind::Profile, &declared.name);
            self.row_of(
                entry,
                found,
                &shown(declared),
                Item::Profile(declared.clone()),
            );
        }
    }

    /// Whether AWS's group of a definition's name, if there is one, is what the
    /// definition has there, or will have.
    fn may_materialise(
        &self,
        declared: &Definition,
        before: Option<&Definition>,
    ) -> Result<(), Failure> {
        let Some(found) = self.seen.materialised.get(&declared.name) else {
            return Ok(());
        };
        let group = Owned::new(ItemKind::Group, &declared.name);
        declared.admit_group(before, found, self.seen.others.get(&group))
    }

    /// Rows are made by catalogs only, so they are theirs to change.
    fn row_of(&mut self, entry: Entry, found: Option<Value>, declared: &Value, item: Item) {
        let fields = differences("", found.as_ref().unwrap_or(&json!({})), declared);
        match found {
            Some(_) if fields.is_empty() => self.plan.unchanged.push(entry),
            Some(_) => self.step(Action::Update, entry, fields, "", item),
            None => self.step(Action::Create, entry, fields, "", item),
        }
    }
}

fn attachment(policy: &str, group: &GroupName) -> Entry {
    Owned::new(ItemKind::Attachment, format!("{policy} to {group}"))
}

fn parent_differs(declared: &Group, found: &GroupSeen) -> bool {
    declared.parent.as_ref().map(GroupName::as_str) != found.parent.as_deref()
}

/// A declared group without what is compared apart.
fn declared_fields(group: &Group) -> Value {
    let mut fields = shown(group);
    if let Some(fields) = fields.as_object_mut() {
        fields.remove("policies");
    }
    fields
}

/// A group that is there, as a declared one is shown.
pub(super) fn group_fields(found: &GroupSeen) -> Value {
    shown(&json!({
        "parent": found.parent, "description": found.description, "attributes": found.attributes,
    }))
}

/// A billing group that is there, as a declared one is shown.
pub(super) fn billing_fields(found: &BillingGroupSeen) -> Value {
    shown(&json!({ "description": found.description, "tags": found.tags }))
}
