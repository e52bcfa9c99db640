//! Definitions that look into each other's membership, and the order in which
//! they can be evaluated.

use std::collections::{BTreeMap, BTreeSet};

use super::super::check::{Check, Predicate, Scope};
use super::super::document::GROUPS;
use super::super::query::{Expression, Field, Query, Term};
use super::super::value::{Value, folded};
use super::tree::Tree;
use super::{Id, id, is_nested};

/// Who depends on whom.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// For each predicate over dynamic groups, the definitions that make it
    /// hold.
    sources: BTreeMap<Id, Vec<Id>>,
    /// For each definition that others depend on, their predicates.
    dependants: BTreeMap<Id, Vec<Id>>,
    /// How far from the inside each definition is; empty if none nests.
    depth: Vec<u32>,
}

impl Nesting {
    pub(super) fn of(names: &[String], trees: &[Tree], predicates: &[Predicate]) -> Self {
        let known = Names::of(names.iter().map(String::as_str));
        let mut sources = BTreeMap::new();
        let mut dependants = BTreeMap::<Id, Vec<Id>>::new();
        for (at, predicate) in predicates.iter().enumerate() {
            if is_nested(predicate) {
                let found = known.that_pass(&predicate.check);
                for source in &found {
                    dependants.entry(*source).or_default().push(id(at));
                }
                sources.insert(id(at), found);
            }
        }
        let depth = if sources.is_empty() {
            Vec::new()
        } else {
            depths(trees, &sources)
        };
        Self {
            sources,
            dependants,
            depth,
        }
    }

    /// Whether no definition looks into another's membership.
    pub(super) fn is_flat(&self) -> bool {
        self.sources.is_empty()
    }

    /// The definitions that make a predicate hold, if it is over dynamic
    /// groups.
    pub(super) fn sources(&self, predicate: Id) -> Option<&[Id]> {
        self.sources.get(&predicate).map(Vec::as_slice)
    }

    /// The predicates that hang on a definition's membership.
    pub(super) fn dependants(&self, definition: Id) -> &[Id] {
        self.dependants.get(&definition).map_or(&[], Vec::as_slice)
    }

    /// Definitions of a lower depth are evaluated first.
    pub(super) fn depth(&self, definition: Id) -> u32 {
        self.depth.get(definition as usize).copied().unwrap_or(0)
    }
}

/// Each definition's depth; there are no circles.
fn depths(trees: &[Tree], sources: &BTreeMap<Id, Vec<Id>>) -> Vec<u32> {
    let on: Vec<Vec<Id>> = trees
        .iter()
        .map(|tree| {
            let mut on = Vec::new();
            tree.each(&mut |predicate| on.extend(sources.get(&predicate).into_iter().flatten()));
            on
        })
        .collect();
    let mut depth = vec![0; on.len()];
    for (rank, definitions) in in_order(&on).into_iter().enumerate() {
        for definition in definitions {
            depth[definition as usize] = id(rank);
        }
    }
    depth
}

/// The definitions in layers, each of which depends on those before only; what
/// is in a circle, or depends on one, is in none. `on` says on which ones each
/// depends.
fn in_order(on: &[Vec<Id>]) -> Vec<Vec<Id>> {
    let mut waiting: Vec<usize> = on.iter().map(Vec::len).collect();
    let mut by = vec![Vec::new(); on.len()];
    for (definition, sources) in on.iter().enumerate() {
        for source in sources {
            by[*source as usize].push(id(definition));
        }
    }
    let mut layers = Vec::new();
    let mut layer: Vec<Id> = (0..on.len())
        .filter(|at| waiting[*at] == 0)
        .map(id)
        .collect();
    while !layer.is_empty() {
        let mut next = Vec::new();
        for definition in &layer {
            for dependant in &by[*definition as usize] {
                let left = &mut waiting[*dependant as usize];
                *left -= 1;
                if *left == 0 {
                    next.push(*dependant);
                }
            }
        }
        layers.push(std::mem::replace(&mut layer, next));
    }
    layers
}

/// The definitions that depend on themselves, or on one that does: by asking
/// for a dynamic group, or for a static group that has its members.
pub(super) fn circular(
    queries: &BTreeMap<String, Query>,
    materialised: &BTreeSet<String>,
) -> Vec<String> {
    let nests = |term: &Term| term.field == Field::DynamicGroups;
    if materialised.is_empty()
        && !queries
            .values()
            .any(|query| query.expression.any_term(&nests))
    {
        return Vec::new();
    }
    let known = Names::of(queries.keys().map(String::as_str));
    let is_static = |at: &Id| materialised.contains(known.values[*at as usize].as_written());
    let on: Vec<Vec<Id>> = queries
        .values()
        .map(|query| {
            let mut on = Vec::new();
            each_term(&query.expression, &mut |term| {
                let Predicate { scope, check } = &term.predicate;
                if nests(term) {
                    on.extend(known.that_pass(check));
                } else if asks_for_groups(scope, check) {
                    on.extend(known.that_pass(check).into_iter().filter(is_static));
                }
            });
            on
        })
        .collect();
    let placed: BTreeSet<Id> = in_order(&on).into_iter().flatten().collect();
    queries
        .keys()
        .enumerate()
        .filter(|(at, _)| !placed.contains(&id(*at)))
        .map(|(_, name)| name.clone())
        .collect()
}

/// Whether the answer may hang on the static groups of a device. A lone `*` is
/// true of every device.
fn asks_for_groups(scope: &Scope, check: &Check) -> bool {
    scope.covers(GROUPS) && !(*scope == Scope::Anywhere && *check == Check::Present)
}

fn each_term(expression: &Expression, visit: &mut impl FnMut(&Term)) {
    match expression {
        Expression::All(clauses) | Expression::Either(clauses) => {
            for clause in clauses {
                each_term(clause, visit);
            }
        }
        Expression::Not(clause) => each_term(clause, visit),
        Expression::Term(term) => visit(term),
    }
}

/// Names of groups, as values.
struct Names {
    values: Vec<Value>,
    by_word: BTreeMap<String, Vec<Id>>,
}

impl Names {
    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let values: Vec<_> = names.map(|name| Value::text(name, false)).collect();
        let mut by_word = BTreeMap::<String, Vec<Id>>::new();
        for (at, value) in values.iter().enumerate() {
            by_word
                .entry(folded(value.as_written()))
                .or_default()
                .push(id(at));
        }
        Self { values, by_word }
    }

    fn that_pass(&self, check: &Check) -> Vec<Id> {
        match check {
            Check::Word(word, None) if self.by_word.contains_key(word) => {
                self.by_word[word].clone()
            }
            check => (0..self.values.len())
                .filter(|at| check.holds(&self.values[*at]))
                .map(id)
                .collect(),
        }
    }
}
