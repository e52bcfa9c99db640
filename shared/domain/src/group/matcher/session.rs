//! One change after another.

use std::collections::BTreeSet;

use super::super::check::{Check, Scope};
use super::super::document::Document;
use super::super::value::Value;
use super::{Id, Matcher, Members};

/// Evaluates changes with a matcher.
#[derive(Debug)]
pub struct Session<'a> {
    matcher: &'a Matcher,
    /// What is known of each predicate holds for one change only.
    round: u32,
    truths: Vec<Truth>,
    queued: Vec<u32>,
    queue: Vec<Id>,
    /// The same where definitions nest: those inside come first.
    ordered: BTreeSet<(u32, Id)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    round: u32,
    holds: bool,
}

/// What a change did to a device's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change<'a> {
    /// Groups that it is in now and was not in, by name.
    pub entered: Vec<&'a str>,
    /// Groups that it was in and is not in now.
    pub left: Vec<&'a str>,
    /// Definitions that were evaluated.
    pub evaluated: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(matcher: &'a Matcher) -> Self {
        Self {
            matcher,
            round: 0,
            truths: vec![Truth::default(); matcher.predicates.len()],
            queued: vec![0; matcher.names.len()],
            queue: Vec::new(),
            ordered: BTreeSet::new(),
        }
    }

    /// All groups of a device: what is asked when nothing is stored, or what
    /// is stored comes from other definitions.
    pub fn members(&mut self, document: &Document) -> Members {
        let mut members = self.matcher.of_nothing.clone();
        self.change(&Document::default(), document, &mut members);
        members
    }

    /// What a change of a device's document does: `members` are the groups
    /// that it was in before, and are those that it is in after.
    pub fn change(
        &mut self,
        before: &Document,
        after: &Document,
        members: &mut Members,
    ) -> Change<'a> {
        self.begin();
        before.each_difference(after, |field, old, new| {
            if let Some(index) = self.matcher.fields.get(field) {
                index.candidates(old, new, &mut |predicate| {
                    self.ask(predicate, before, after);
                });
            }
            for (scope, index) in &self.matcher.wide {
                if scope.covers(field) {
                    index.candidates(old, new, &mut |predicate| {
                        self.ask(predicate, before, after);
                    });
                }
            }
        });
        self.evaluate(after, members)
    }

    /// The groups of a device of which nothing is known, by asking them all.
    pub(super) fn of_nothing(&mut self) -> Members {
        self.begin();
        let mut members = Members::none(self.matcher.names.len());
        for definition in 0..self.matcher.names.len() {
            self.enqueue(super::id(definition));
        }
        self.evaluate(&Document::default(), &mut members);
        members
    }

    fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.truths.fill(Truth::default());
            self.queued.fill(0);
            self.round = 1;
        }
    }

    /// Finds out whether a candidate is turned over, and if so, queues the
    /// definitions behind it.
    fn ask(&mut self, predicate: Id, before: &Document, after: &Document) {
        let at = predicate as usize;
        if self.truths[at].round == self.round {
            return;
        }
        let asked = &self.matcher.predicates[at];
        let holds = asked.holds(after);
        self.truths[at] = Truth {
            round: self.round,
            holds,
        };
        if asked.holds(before) != holds {
            for definition in &self.matcher.behind[at] {
                self.enqueue(*definition);
            }
        }
    }

    fn enqueue(&mut self, definition: Id) {
        let queued = &mut self.queued[definition as usize];
        if *queued != self.round {
            *queued = self.round;
            if self.matcher.nesting.is_flat() {
                self.queue.push(definition);
            } else {
                self.ordered
                    .insert((self.matcher.nesting.depth(definition), definition));
            }
        }
    }

    fn next(&mut self) -> Option<Id> {
        if self.matcher.nesting.is_flat() {
            self.queue.pop()
        } else {
            self.ordered.pop_first().map(|(_, definition)| definition)
        }
    }

    fn evaluate(&mut self, document: &Document, members: &mut Members) -> Change<'a> {
        let matcher = self.matcher;
        let mut fields = Fields::of(document);
        let (mut entered, mut left) = (Vec::new(), Vec::new());
        let mut evaluated = 0;
        while let Some(definition) = self.next() {
            evaluated += 1;
            let is_in = self.value(definition, &mut fields, members);
            if is_in == members.has(definition) {
                continue;
            }
            members.set(definition, is_in);
            if is_in {
                entered.push(definition);
            } else {
                left.push(definition);
            }
            // These are all further out, and not evaluated yet.
            for predicate in matcher.nesting.dependants(definition) {
                for definition in &matcher.behind[*predicate as usize] {
                    self.enqueue(*definition);
                }
            }
        }
        let names = |mut definitions: Vec<Id>| {
            definitions.sort_unstable();
            definitions.iter().map(|id| matcher.name(*id)).collect()
        };
        Change {
            entered: names(entered),
            left: names(left),
            evaluated,
        }
    }

    fn value(&mut self, definition: Id, fields: &mut Fields<'_>, members: &Members) -> bool {
        let tree = &self.matcher.trees[definition as usize];
        let known = |predicate: Id| {
            let truth = self.truths[predicate as usize];
            (truth.round == self.round).then_some(truth.holds)
        };
        // What the change turned over decides most of them.
        if let Some(value) = tree.known(&known) {
            return value;
        }
        tree.value(&mut |predicate| {
            let truth = &mut self.truths[predicate as usize];
            if truth.round != self.round {
                *truth = Truth {
                    round: self.round,
                    holds: holds(self.matcher, predicate, fields, members),
                };
            }
            truth.holds
        })
    }
}

/// Whether a predicate holds for a device in these groups.
fn holds(matcher: &Matcher, predicate: Id, fields: &mut Fields<'_>, members: &Members) -> bool {
    if let Some(sources) = matcher.nesting.sources(predicate) {
        return sources.iter().any(|definition| members.has(*definition));
    }
    let asked = &matcher.predicates[predicate as usize];
    match (&asked.scope, &asked.check) {
        (_, Check::Near(_)) | (Scope::Anywhere | Scope::Fields(_), _) => {
            asked.holds(fields.document)
        }
        (Scope::Field(name), check) => fields.values(name).iter().any(|value| check.holds(value)),
    }
}

/// A document, and the field that was looked up last: one after the other,
/// definitions ask for the same.
struct Fields<'d> {
    document: &'d Document,
    last: (&'d str, &'d [Value]),
}

impl<'d> Fields<'d> {
    fn of(document: &'d Document) -> Self {
        Self {
            document,
            last: ("", &[]),
        }
    }

    fn values(&mut self, name: &str) -> &'d [Value] {
        if self.last.0 != name {
            match self.document.field_named(name) {
                Some(found) => self.last = found,
                None => return &[],
            }
        }
        self.last.1
    }
}
