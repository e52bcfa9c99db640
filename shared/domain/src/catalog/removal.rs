//! What earlier catalogs made and this one no longer declares.
//!
//! What is in use is not removed: the plan names its users. Devices can be
//! taken out of groups and billing groups on request.

use std::collections::BTreeSet;

use serde_json::json;

use super::item::{Action, Item, ItemKind, Owned, differences, shown};
use super::plan::{Kept, Planner, billing_fields, group_fields};
use super::thing_type::{TypeRow, described};
use super::{Catalog, Observed, Users};
use crate::failure::Failure;
use crate::names::{
    BillingGroupName, GroupName, JobTemplateName, PolicyName, ProfileName, ThingTypeName,
};

/// Of what it has to be known who uses it, before a plan can be made. Thing
/// types are asked for by AWS's names.
pub fn looks(catalog: &Catalog, seen: &Observed) -> BTreeSet<Owned> {
    let mut looks: BTreeSet<_> = undeclared(catalog, seen)
        .filter(|owned| {
            matches!(
                owned.kind,
                ItemKind::Group | ItemKind::BillingGroup | ItemKind::Policy
            )
        })
        .cloned()
        .collect();
    for group in &catalog.groups {
        let moved = |found: &super::GroupSeen| {
            found.parent.as_deref() != group.parent.as_ref().map(GroupName::as_str)
        };
        if seen.groups.get(&group.name).is_some_and(moved) {
            looks.insert(Owned::new(ItemKind::Group, &group.name));
        }
    }
    for owned in seen.owned.iter().filter(|o| o.kind == ItemKind::ThingType) {
        let Ok(name) = ThingTypeName::parse(&owned.name) else {
            continue;
        };
        let row = seen.type_rows.get(&name).cloned();
        let row = row.unwrap_or_else(|| TypeRow::first(&name));
        let declared = catalog.thing_types.iter().find(|t| t.name == name);
        let stays = seen
            .thing_types
            .get(&row.current)
            .zip(declared)
            .is_some_and(|(found, declared)| described(found) == shown(declared));
        let current = (!stays).then_some(&row.current);
        let asked = row.retired.iter().chain(current);
        let there = asked.filter(|name| seen.thing_types.contains_key(*name));
        looks.extend(there.map(|name| Owned::new(ItemKind::ThingType, name)));
    }
    looks
}

/// What catalogs made and this one does not declare.
fn undeclared<'a>(catalog: &Catalog, seen: &'a Observed) -> impl Iterator<Item = &'a Owned> {
    let declared = catalog.declared();
    seen.owned
        .iter()
        .filter(move |owned| !declared.contains(*owned))
}

impl Catalog {
    /// Everything that it declares by a name.
    pub fn declared(&self) -> BTreeSet<Owned> {
        let of = |kind, name: &str| Owned::new(kind, name);
        let types = self
            .thing_types
            .iter()
            .map(|t| of(ItemKind::ThingType, t.name.as_str()));
        let policies = self
            .policies
            .iter()
            .map(|p| of(ItemKind::Policy, p.name.as_str()));
        let groups = self
            .groups
            .iter()
            .map(|g| of(ItemKind::Group, g.name.as_str()));
        let billing = self
            .billing_groups
            .iter()
            .map(|b| of(ItemKind::BillingGroup, b.name.as_str()));
        let profiles = self
            .profiles
            .iter()
            .map(|p| of(ItemKind::Profile, p.name.as_str()));
        let dynamic = self
            .dynamic_groups
            .iter()
            .map(|d| of(ItemKind::DynamicGroup, d.name.as_str()));
        let templates = self
            .job_templates
            .iter()
            .map(|t| of(ItemKind::JobTemplate, t.name.as_str()));
        types
            .chain(policies)
            .chain(groups)
            .chain(billing)
            .chain(profiles)
            .chain(dynamic)
            .chain(templates)
            .collect()
    }
}

impl Planner<'_> {
    pub(super) fn removals(&mut self) {
        for owned in undeclared(self.catalog, self.seen) {
            // A row that names nothing sound was not written by a catalog.
            let _ = self.remove(owned);
        }
    }

    fn remove(&mut self, owned: &Owned) -> Result<(), Failure> {
        match owned.kind {
            ItemKind::ThingType => self.remove_type(owned, &ThingTypeName::parse(&owned.name)?),
            ItemKind::Policy => self.remove_policy(owned, &PolicyName::parse(&owned.name)?),
            ItemKind::BillingGroup => {
                self.remove_billing_group(owned, &BillingGroupName::parse(&owned.name)?);
            }
            ItemKind::Group => self.remove_group(owned, &GroupName::parse(&owned.name)?),
            ItemKind::DynamicGroup => {
                let name = GroupName::parse(&owned.name)?;
                let before = self.seen.dynamic_groups.get(&name).map(shown);
                self.gone(owned, before, "", Item::ForgetDefinition(name));
            }
            ItemKind::JobTemplate => {
                let name = JobTemplateName::parse(&owned.name)?;
                let before = self.seen.job_templates.get(&name).map(shown);
                self.gone(owned, before, "", Item::ForgetJobTemplate(name));
            }
            ItemKind::Profile => {
                let name = ProfileName::parse(&owned.name)?;
                let before = self.seen.profiles.get(&name).map(shown);
                let note = "names that were pre-registered under it can no longer be claimed";
                self.gone(owned, before, note, Item::ForgetProfile(name));
            }
            ItemKind::Attachment | ItemKind::RetainedTopics => {}
        }
        Ok(())
    }

    /// Removes what is there; of what is not, only the ownership.
    fn gone(&mut self, owned: &Owned, before: Option<serde_json::Value>, note: &str, item: Item) {
        match before {
            None => self.quietly(Item::Disown(owned.clone())),
            Some(before) => {
                let fields = differences("", &before, &json!({}));
                self.step(Action::Delete, owned.clone(), fields, note, item);
            }
        }
    }

    fn remove_type(&mut self, owned: &Owned, name: &ThingTypeName) {
        let (seen, row) = (self.seen, self.row(name));
        let names = row.retired.iter().chain([&row.current]);
        let there: Vec<_> = names
            .filter(|n| seen.thing_types.contains_key(*n))
            .collect();
        if there.is_empty() {
            self.quietly(Item::Disown(owned.clone()));
            return;
        }
        for one in &there {
            let entry = Owned::new(ItemKind::ThingType, *one);
            if let Some(users) = self.users(&entry) {
                let remedy = "A thing's type cannot just be taken away: give these devices another \
                              with lamp device update, or delete them.";
                self.refuse_used(owned.clone(), users.clone(), remedy);
                return;
            }
        }
        for one in &there {
            let found = &seen.thing_types[*one];
            let entry = Owned::new(ItemKind::ThingType, *one);
            if !found.deprecated {
                let fields = differences("deprecated", &false.into(), &true.into());
                let item = Item::Deprecate((*one).clone(), true);
                self.step(Action::Update, entry, fields, "", item);
            }
            // The row names the current one, so that goes last.
            let last = there.len() == 1;
            if last || **one != row.current {
                let row = (!last).then(|| row.without(one));
                self.delete_type(found, one, name, row);
            }
        }
    }

    fn remove_policy(&mut self, owned: &Owned, name: &PolicyName) {
        if self.seen.stopped.contains(name) {
            self.keep_stopped(owned.clone());
        } else if let Some(users) = self.users(owned) {
            let remedy = "Detach the policy from them first; this catalog did not attach it.";
            self.refuse_used(owned.clone(), users.clone(), remedy);
        } else {
            let before = self.seen.policies.get(name);
            let before = before.map(|document| json!({ "document": document }));
            self.gone(owned, before, "", Item::DeletePolicy(name.clone()));
        }
    }

    fn remove_billing_group(&mut self, owned: &Owned, name: &BillingGroupName) {
        let before = self.seen.billing_groups.get(name).map(billing_fields);
        if !self.emptied(owned, Item::DrainBillingGroup(name.clone())) {
            return;
        }
        self.gone(owned, before, "", Item::DeleteBillingGroup(name.clone()));
    }

    fn remove_group(&mut self, owned: &Owned, name: &GroupName) {
        let seen = self.seen;
        let found = seen.groups.get(name);
        if let Some(children) = seen.foreign_children.get(name).filter(|c| !c.is_empty()) {
            let users = Users::all(children.clone(), false);
            let remedy = "Delete these groups below it first; this catalog did not make them.";
            self.refuse_used(owned.clone(), users, remedy);
            return;
        }
        let policies = found.iter().flat_map(|found| &found.policies);
        let stopped = |policy: &&String| {
            PolicyName::parse(policy).is_ok_and(|policy| seen.stopped.contains(&policy))
        };
        // Whoever left the group would go on.
        if let Some(policy) = policies.clone().find(stopped) {
            let reason = format!("its policy {policy} is stopped; it stays until that is resumed");
            let entry = owned.clone();
            self.plan.kept.push(Kept { entry, reason });
            return;
        }
        if !self.emptied(owned, Item::DrainGroup(name.clone())) {
            return;
        }
        for policy in policies {
            self.detach(policy, name);
        }
        let item = Item::DeleteGroup {
            name: name.clone(),
            depth: found.map_or(0, |found| found.depth),
        };
        self.gone(owned, found.map(group_fields), "", item);
    }

    /// Whether something may be removed: nobody uses it, or its devices are
    /// taken out of it first, as was asked.
    fn emptied(&mut self, owned: &Owned, drain: Item) -> bool {
        let Some(users) = self.users(owned) else {
            return true;
        };
        let users = users.clone();
        if !self.drain {
            let remedy = "Move these devices first, or apply with --drain to take them out of it.";
            self.refuse_used(owned.clone(), users, remedy);
            return false;
        }
        let more = if users.more { "at least " } else { "" };
        let note = format!("{more}{} devices", users.count);
        self.step(Action::Drain, owned.clone(), Vec::new(), &note, drain);
        true
    }

    pub(super) fn keep_stopped(&mut self, entry: Owned) {
        let reason = format!(
            "the policy {} is stopped; it is left alone until it is resumed",
            entry.name
        );
        self.plan.kept.push(Kept { entry, reason });
    }
}
