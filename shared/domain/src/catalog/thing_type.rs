//! Thing types, which AWS lets nobody change: a changed one becomes another.
//!
//! A declared type `streetlight` is AWS's `streetlight`, and after a change
//! `streetlight-v2`. AWS takes no full stop in the name of a type. The one
//! before is deprecated, so that it gets no new things, its things are given
//! the next one, and five minutes later it can be deleted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::item::{Action, Item, ItemKind, Owned, differences, shown};
use super::plan::Planner;
use super::{ThingType, ThingTypeSeen};
use crate::failure::Failure;
use crate::names::ThingTypeName;

/// AWS deletes a thing type no earlier than this after its deprecation ("Delete
/// a thing type", AWS IoT Core Developer Guide).
pub const DEPRECATED_MILLIS: u64 = 5 * 60 * 1000;

/// `TYPE#name / TYPE`: which of AWS's types a declared one is. A type that was
/// never changed has no such row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeRow {
    /// The declared name.
    pub name: ThingTypeName,
    /// AWS's name of what it is now.
    pub current: ThingTypeName,
    /// How many types it has been, this one included.
    pub number: u32,
    /// What it was before and may still be in AWS.
    #[serde(default)]
    pub retired: BTreeSet<ThingTypeName>,
}

impl TypeRow {
    /// The row of a type that was never changed.
    pub fn first(name: &ThingTypeName) -> Self {
        Self {
            name: name.clone(),
            current: name.clone(),
            number: 1,
            retired: BTreeSet::new(),
        }
    }

    /// The row after another change.
    ///
    /// # Errors
    /// `Invalid` when the next name would be too long.
    pub fn next(&self) -> Result<Self, Failure> {
        let number = self.number + 1;
        let mut retired = self.retired.clone();
        retired.insert(self.current.clone());
        Ok(Self {
            name: self.name.clone(),
            current: ThingTypeName::parse(&format!("{}-v{number}", self.name))?,
            number,
            retired,
        })
    }

    /// The row once AWS has one of the retired types no more.
    #[must_use]
    pub fn without(&self, old: &ThingTypeName) -> Self {
        let mut row = self.clone();
        row.retired.remove(old);
        row
    }

    /// AWS's names that matter for it: those it had, and the one it would have
    /// next.
    pub fn names(&self) -> BTreeSet<ThingTypeName> {
        let mut names = self.retired.clone();
        names.insert(self.current.clone());
        names.extend(self.next().map(|next| next.current));
        names
    }
}

impl Planner<'_> {
    /// Which of AWS's types a declared one is.
    pub(super) fn row(&self, name: &ThingTypeName) -> TypeRow {
        let found = self.seen.type_rows.get(name).cloned();
        found.unwrap_or_else(|| TypeRow::first(name))
    }

    pub(super) fn thing_type(&mut self, declared: &ThingType) {
        let owned = Owned::new(ItemKind::ThingType, &declared.name);
        let mut row = self.row(&declared.name);
        let seen = self.seen;
        match seen.thing_types.get(&row.current) {
            None => {
                let made = of_name(declared, &row.current);
                let fields = differences("", &serde_json::json!({}), &shown(declared));
                let item = Item::ThingType {
                    made,
                    declared: declared.name.clone(),
                };
                self.step(Action::Create, owned, fields, "", item);
            }
            Some(found) => {
                let fields = differences("", &described(found), &shown(declared));
                if !fields.is_empty() && self.owns(&owned) {
                    row = self.replace(declared, &row, fields);
                } else if !fields.is_empty() {
                    self.refuse_foreign(owned, fields);
                } else if found.deprecated {
                    self.undeprecate(owned, &row.current);
                } else {
                    self.plan.unchanged.push(owned);
                }
            }
        }
        for old in row.retired.clone() {
            self.retired(&row, &old);
        }
        self.current.insert(declared.name.clone(), row.current);
    }

    /// Another type takes the place of what the declared one was.
    fn replace(
        &mut self,
        declared: &ThingType,
        row: &TypeRow,
        fields: Vec<super::Field>,
    ) -> TypeRow {
        let owned = Owned::new(ItemKind::ThingType, &declared.name);
        let next = match row.next() {
            Ok(next) => next,
            Err(failure) => {
                self.refuse(owned, fields, failure.reason, failure.remedy);
                return row.clone();
            }
        };
        let taken = self.seen.thing_types.get(&next.current);
        // One that is just so is what an earlier apply, cut off, has made.
        if taken.is_some_and(|found| found.deprecated || described(found) != shown(declared)) {
            let reason = format!("AWS IoT has another thing type {}", next.current);
            let remedy = "Delete it in AWS IoT; the changed type needs that name.";
            self.refuse(owned, fields, reason, remedy);
            return row.clone();
        }
        let note = format!(
            "AWS's thing types cannot be changed: {} takes the place of {}",
            next.current, row.current
        );
        let item = Item::ThingType {
            made: of_name(declared, &next.current),
            declared: declared.name.clone(),
        };
        self.step(Action::Replace, owned, fields, &note, item);
        self.quietly(Item::Switch(next.clone()));
        next
    }

    /// A type that another one has taken the place of: without new things, then
    /// without things, then gone.
    fn retired(&mut self, row: &TypeRow, old: &ThingTypeName) {
        let seen = self.seen;
        let Some(found) = seen.thing_types.get(old) else {
            self.quietly(Item::Switch(row.without(old)));
            return;
        };
        let entry = Owned::new(ItemKind::ThingType, old);
        if !found.deprecated {
            let fields = differences("deprecated", &false.into(), &true.into());
            let item = Item::Deprecate(old.clone(), true);
            self.step(Action::Update, entry.clone(), fields, "", item);
        }
        if let Some(users) = self.users(&entry) {
            let things = if users.more { "at least " } else { "" };
            let note = format!("{things}{} things", users.count);
            let fields = differences(
                "thingType",
                &old.as_str().into(),
                &row.current.as_str().into(),
            );
            let item = Item::Migrate {
                from: old.clone(),
                to: row.current.clone(),
            };
            self.step(Action::Migrate, entry.clone(), fields, &note, item);
        }
        self.delete_type(found, old, &row.name, Some(row.without(old)));
    }

    /// Deletes a type that nobody has, if it has been deprecated for long
    /// enough.
    pub(super) fn delete_type(
        &mut self,
        found: &ThingTypeSeen,
        name: &ThingTypeName,
        declared: &ThingTypeName,
        row: Option<TypeRow>,
    ) {
        let entry = Owned::new(ItemKind::ThingType, name);
        let ripe = found.deprecated_at.filter(|_| found.deprecated);
        let ripe = ripe.map(|at| at.plus_millis(DEPRECATED_MILLIS));
        if ripe.is_some_and(|at| at <= self.now) && self.users(&entry).is_none() {
            let item = Item::DeleteType {
                name: name.clone(),
                declared: declared.clone(),
                row,
            };
            let fields = differences("", &described(found), &serde_json::json!({}));
            self.step(Action::Delete, entry, fields, "", item);
            return;
        }
        let when = ripe.map_or_else(
            || "five minutes after its deprecation".to_owned(),
            |at| format!("after {}", at.rfc3339()),
        );
        let reason = format!("it can be deleted {when}; apply the catalog again then");
        self.plan.waiting.push(super::Kept { entry, reason });
    }

    fn undeprecate(&mut self, owned: Owned, current: &ThingTypeName) {
        let fields = differences("deprecated", &true.into(), &false.into());
        if self.owns(&owned) {
            let item = Item::Deprecate(current.clone(), false);
            self.step(Action::Update, owned, fields, "", item);
        } else {
            self.refuse_foreign(owned, fields);
        }
    }
}

fn of_name(declared: &ThingType, name: &ThingTypeName) -> ThingType {
    ThingType {
        name: name.clone(),
        ..declared.clone()
    }
}

/// What is seen of a type, as [`shown`] shows a declared one.
pub(super) fn described(found: &ThingTypeSeen) -> serde_json::Value {
    shown(&serde_json::json!({
        "description": found.description,
        "searchableAttributes": found.searchable_attributes,
    }))
}
