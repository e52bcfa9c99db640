//! All definitions at once: which groups a device enters and leaves when its
//! document changes.
//!
//! Equal predicates of all definitions are one. They are indexed by field and
//! by what they ask (`index`), so that a change leads to those that it turns
//! over. A group's membership can change only if one of its predicates does:
//! only the definitions behind those are evaluated, and compared with the
//! membership that was stored. What a change costs hangs on what it touches,
//! not on how many definitions there are.
//!
//! Definitions that nest look into each other's membership. They are evaluated
//! from the inside out, which is why none may depend on itself (`nesting`).

mod index;
mod literals;
mod members;
mod nesting;
mod ranges;
mod session;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Predicate, Scope};
use super::document::DYNAMIC_GROUPS;
use super::query::{Language, Query};
use crate::failure::Failure;
use index::Index;
pub use members::Members;
use nesting::Nesting;
pub use session::{Change, Session};
use tree::Tree;

/// A predicate, or a definition, by its place in the matcher.
type Id = u32;

/// The definitions, ready to be asked.
#[derive(Debug)]
pub struct Matcher {
    /// The definitions' names, in order.
    names: Vec<String>,
    trees: Vec<Tree>,
    predicates: Vec<Predicate>,
    /// The definitions that ask each predicate.
    behind: Vec<Vec<Id>>,
    fields: BTreeMap<String, Index>,
    /// Predicates over many fields, and which fields these are.
    wide: Vec<(Scope, Index)>,
    nesting: Nesting,
    /// The groups of a device of which nothing is known.
    of_nothing: Members,
}

/// The matcher, and the definitions that are not in it.
#[derive(Debug)]
pub struct Compiled {
    /// Every definition that can be evaluated.
    pub matcher: Matcher,
    /// The others, by name, with the reason.
    pub refused: Vec<(String, Failure)>,
}

impl Matcher {
    /// Reads the definitions: name, query, and the language it is written in.
    /// A bad one is refused, and the others go on.
    pub fn compile<'a>(
        definitions: impl IntoIterator<Item = (&'a str, &'a str, Language)>,
    ) -> Compiled {
        let mut refused = Vec::new();
        let mut queries = Vec::new();
        for (name, text, language) in definitions {
            match Query::parse(text, language) {
                Ok(parsed) => queries.push((name.to_owned(), parsed.query)),
                Err(error) => refused.push((name.to_owned(), error.into_failure("query"))),
            }
        }
        let mut compiled = Self::of_queries(queries);
        compiled.refused.extend(refused);
        compiled
    }

    /// The same of queries that were read before. Refused are a second
    /// definition of one name, and those that depend on themselves, or on one
    /// that does.
    pub fn of_queries(definitions: impl IntoIterator<Item = (String, Query)>) -> Compiled {
        Self::of_materialised(definitions, &BTreeSet::new())
    }

    /// The same, when for some of these there is a static group with the same
    /// name and members: asking for that is to depend on the definition too.
    pub fn of_materialised(
        definitions: impl IntoIterator<Item = (String, Query)>,
        materialised: &BTreeSet<String>,
    ) -> Compiled {
        let mut refused = Vec::new();
        let mut queries = BTreeMap::new();
        for (name, query) in definitions {
            match queries.entry(name) {
                Entry::Vacant(place) => drop(place.insert(query)),
                Entry::Occupied(other) => {
                    let failure = Failure::invalid(
                        "name",
                        "there is another definition of this name",
                        "Give each group a name of its own.",
                    );
                    refused.push((other.key().clone(), failure));
                }
            }
        }
        for name in nesting::circular(&queries, materialised) {
            queries.remove(&name);
            let failure = Failure::invalid(
                "query",
                "the group depends on itself, or on one that does",
                "Leave a dynamicGroupNames term out that closes the circle, or a thingGroupNames \
                 term that finds a static group with its members.",
            );
            refused.push((name, failure));
        }
        Compiled {
            matcher: Self::of(queries),
            refused,
        }
    }

    fn of(queries: BTreeMap<String, Query>) -> Self {
        let mut interned = BTreeMap::new();
        let mut trees = Vec::with_capacity(queries.len());
        let mut names = Vec::with_capacity(queries.len());
        for (name, query) in queries {
            trees.push(Tree::of(&query.expression, &mut |predicate| {
                let next = id(interned.len());
                *interned.entry(predicate.clone()).or_insert(next)
            }));
            names.push(name);
        }
        let mut predicates: Vec<_> = interned.into_iter().collect();
        predicates.sort_by_key(|(_, id)| *id);
        let predicates: Vec<_> = predicates
            .into_iter()
            .map(|(predicate, _)| predicate)
            .collect();
        let mut behind = vec![Vec::new(); predicates.len()];
        for (definition, tree) in trees.iter().enumerate() {
            tree.each(&mut |predicate| {
                let list: &mut Vec<Id> = &mut behind[predicate as usize];
                if list.last() != Some(&id(definition)) {
                    list.push(id(definition));
                }
            });
        }
        let (fields, wide) = indexes(&predicates);
        let nesting = Nesting::of(&names, &trees, &predicates);
        let mut matcher = Self {
            of_nothing: Members::none(names.len()),
            names,
            trees,
            predicates,
            behind,
            fields,
            wide,
            nesting,
        };
        matcher.of_nothing = matcher.session().of_nothing();
        matcher
    }

    /// What evaluates changes: it has room to work in, so keep it for many.
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }

    /// The names of all definitions, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names of these groups, in order.
    pub fn names_of<'a, 'b>(
        &'a self,
        members: &'b Members,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        members.iter().map(|definition| self.name(definition))
    }

    /// A stored membership; names without a definition are passed over.
    pub fn members_named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Members {
        let mut members = Members::none(self.names.len());
        for name in names {
            if let Ok(definition) = self
                .names
                .binary_search_by(|known| known.as_str().cmp(name))
            {
                members.set(id(definition), true);
            }
        }
        members
    }

    /// How many different predicates the definitions have together.
    pub fn predicates(&self) -> usize {
        self.predicates.len()
    }

    fn name(&self, definition: Id) -> &str {
        &self.names[definition as usize]
    }
}

fn id(place: usize) -> Id {
    Id::try_from(place).unwrap_or(Id::MAX)
}

/// Whether a predicate is about other dynamic groups.
fn is_nested(predicate: &Predicate) -> bool {
    matches!(&predicate.scope, Scope::Field(name) if name == DYNAMIC_GROUPS)
}

/// The predicates by field, and those over many fields.
fn indexes(predicates: &[Predicate]) -> (BTreeMap<String, Index>, Vec<(Scope, Index)>) {
    let mut by_field = BTreeMap::<String, Vec<(Id, &Check)>>::new();
    let mut by_scope = BTreeMap::<&Scope, Vec<(Id, &Check)>>::new();
    for (at, predicate) in predicates.iter().enumerate() {
        let entry = (id(at), &predicate.check);
        match &predicate.scope {
            _ if is_nested(predicate) => {}
            Scope::Field(name) => {
                by_field.entry(name.clone()).or_default().push(entry);
                if let Check::Near(_) = predicate.check {
                    for part in super::place::parts_of(name) {
                        by_field.entry(part).or_default().push(entry);
                    }
                }
            }
            scope => by_scope.entry(scope).or_default().push(entry),
        }
    }
    (
        by_field
            .into_iter()
            .map(|(field, entries)| (field, Index::of(&entries)))
            .collect(),
        by_scope
            .into_iter()
            .map(|(scope, entries)| (scope.clone(), Index::of(&entries)))
            .collect(),
    )
}
