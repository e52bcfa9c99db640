//! A dry run: who would enter and leave if a definition were put.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::names::{GroupName, ThingName};

/// So many devices are named.
const MOST_NAMED: usize = 20;

/// What a dry run has found so far.
#[derive(Debug)]
pub struct Trial {
    group: GroupName,
    found: TrialView,
}

/// A page of a dry run, as callers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialView {
    /// How many devices were asked.
    pub asked: u64,
    /// How many of them nothing is known of yet; the first sweep looks at them.
    pub unknown: u64,
    /// How many are in the group now and would stay.
    pub staying: u64,
    /// Who would enter.
    pub entering: Movers,
    /// Who would leave.
    pub leaving: Movers,
    /// What follows in other groups that ask for this one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<GroupName, Others>,
}

/// Devices: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Movers {
    /// How many.
    pub count: u64,
    /// The names of some.
    pub first: Vec<ThingName>,
}

/// How many would enter and leave another group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Would enter.
    pub entering: u64,
    /// Would leave.
    pub leaving: u64,
}

impl Movers {
    fn add(&mut self, thing: &ThingName) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push(thing.clone());
        }
    }
}

impl Trial {
    /// Of this group.
    pub fn new(group: GroupName) -> Self {
        Self {
            group,
            found: TrialView::default(),
        }
    }

    /// A device of which no document is known.
    pub fn unknown(&mut self) {
        self.found.asked += 1;
        self.found.unknown += 1;
    }

    /// The groups that a device is in, and those that it would be in.
    pub fn take(
        &mut self,
        thing: &ThingName,
        before: &BTreeSet<GroupName>,
        after: &BTreeSet<GroupName>,
    ) {
        self.found.asked += 1;
        match (before.contains(&self.group), after.contains(&self.group)) {
            (true, true) => self.found.staying += 1,
            (false, true) => self.found.entering.add(thing),
            (true, false) => self.found.leaving.add(thing),
            (false, false) => {}
        }
        for other in before.symmetric_difference(after) {
            if *other != self.group {
                let others = self.found.others.entry(other.clone()).or_default();
                if after.contains(other) {
                    others.entering += 1;
                } else {
                    others.leaving += 1;
                }
            }
        }
    }

    /// What was found.
    pub fn end(self) -> TrialView {
        self.found
    }
}
