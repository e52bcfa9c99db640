//! The predicates over one field: which of them may be turned over when its
//! values change.
//!
//! What comes out are candidates; the session asks each before and after.
//! Equality is looked up, ranges are ordered by their ends, patterns are found
//! by a literal part of theirs, and only those without any are left to be
//! tried one by one.

use std::collections::BTreeMap;

use super::super::check::{Check, Span};
use super::super::pattern::Pattern;
use super::super::value::{Number, Value};
use super::super::version::{Relation, Version};
use super::Id;
use super::literals::Literals;
use super::ranges::Ranges;

#[derive(Debug)]
pub(super) struct Index {
    words: BTreeMap<String, Vec<Id>>,
    numbers: BTreeMap<Number, Vec<Id>>,
    /// By their first words.
    phrases: BTreeMap<String, Vec<Id>>,
    number_ranges: Ranges<Number>,
    word_ranges: Ranges<String>,
    versions: Ranges<Version>,
    present: Vec<Id>,
    /// Patterns by their first characters.
    beginnings: Literals,
    /// Patterns by their last characters, backwards.
    endings: Literals,
    /// Patterns by the longest piece in between.
    pieces: Literals,
    /// Patterns of wildcards only.
    shapeless: Vec<Id>,
    /// Places: what they ask is more than this field.
    places: Vec<Id>,
}

/// What an index is made of, before it is put in order.
#[derive(Default)]
struct Parts {
    words: BTreeMap<String, Vec<Id>>,
    numbers: BTreeMap<Number, Vec<Id>>,
    phrases: BTreeMap<String, Vec<Id>>,
    number_ranges: Vec<(Span<Number>, Id)>,
    word_ranges: Vec<(Span<String>, Id)>,
    versions: Vec<(Span<Version>, Id)>,
    present: Vec<Id>,
    beginnings: BTreeMap<String, Vec<Id>>,
    endings: BTreeMap<String, Vec<Id>>,
    pieces: BTreeMap<String, Vec<Id>>,
    shapeless: Vec<Id>,
    places: Vec<Id>,
}

impl Parts {
    fn add(&mut self, id: Id, check: &Check) {
        match check {
            Check::Present => self.present.push(id),
            Check::Word(word, number) => {
                self.words.entry(word.clone()).or_default().push(id);
                if let Some(number) = number {
                    self.numbers.entry(*number).or_default().push(id);
                }
            }
            Check::Phrase(words) => {
                // One without words holds for nothing, ever.
                if let Some(first) = words.first() {
                    self.phrases.entry(first.clone()).or_default().push(id);
                }
            }
            Check::Numbers(span) => self.number_ranges.push((span.clone(), id)),
            Check::Words(span) => self.word_ranges.push((span.clone(), id)),
            Check::Version(relation, version) => {
                self.versions.push((versions(*relation, version), id));
            }
            Check::Like(pattern) => self.add_pattern(id, pattern),
            Check::Near(_) => self.places.push(id),
        }
    }

    fn add_pattern(&mut self, id: Id, pattern: &Pattern) {
        let (beginning, ending) = (pattern.beginning(), pattern.ending());
        let (map, text) = if !beginning.is_empty() {
            (&mut self.beginnings, beginning)
        } else if !ending.is_empty() {
            (&mut self.endings, backwards(&ending))
        } else {
            match pattern.longest_piece() {
                text if text.is_empty() => return self.shapeless.push(id),
                text => (&mut self.pieces, text),
            }
        };
        map.entry(text).or_default().push(id);
    }
}

fn versions(relation: Relation, version: &Version) -> Span<Version> {
    let end = |inside| Some((version.clone(), inside));
    let (low, high) = match relation {
        Relation::Less => (None, end(false)),
        Relation::AtMost => (None, end(true)),
        Relation::Equal => (end(true), end(true)),
        Relation::AtLeast => (end(true), None),
        Relation::More => (end(false), None),
    };
    Span { low, high }
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

impl Index {
    pub(super) fn of(entries: &[(Id, &Check)]) -> Self {
        let mut parts = Parts::default();
        for (id, check) in entries {
            parts.add(*id, check);
        }
        Self {
            words: parts.words,
            numbers: parts.numbers,
            phrases: parts.phrases,
            number_ranges: Ranges::of(parts.number_ranges),
            word_ranges: Ranges::of(parts.word_ranges),
            versions: Ranges::of(parts.versions),
            present: parts.present,
            beginnings: Literals::of(parts.beginnings),
            endings: Literals::of(parts.endings),
            pieces: Literals::of(parts.pieces),
            shapeless: parts.shapeless,
            places: parts.places,
        }
    }

    /// Every predicate that may hold for `old` and not for `new`, or the other
    /// way round; some of them more than once.
    pub(super) fn candidates(&self, old: &[Value], new: &[Value], visit: &mut impl FnMut(Id)) {
        let (old_words, new_words) = (words(old), words(new));
        if old_words.is_empty() != new_words.is_empty() {
            visit_all(Some(&self.present), visit);
        }
        visit_all(Some(&self.places), visit);
        let mut changed = false;
        each_difference(&old_words, &new_words, &mut |word| {
            changed = true;
            self.of_word(word, visit);
        });
        if !self.phrases.is_empty() {
            // The same words in another order are another text.
            for word in old_words.iter().chain(&new_words) {
                visit_all(self.phrases.get(*word), visit);
            }
        }
        if changed {
            self.word_ranges
                .between::<str>(&old_words, &new_words, visit);
            if !self.versions.is_empty() {
                let (old, new) = (parsed(&old_words), parsed(&new_words));
                let (old, new): (Vec<_>, Vec<_>) = (old.iter().collect(), new.iter().collect());
                self.versions.between(&old, &new, visit);
            }
        }
        self.of_numbers(old, new, visit);
    }

    fn of_numbers(&self, old: &[Value], new: &[Value], visit: &mut impl FnMut(Id)) {
        if self.numbers.is_empty() && self.number_ranges.is_empty() {
            return;
        }
        let (old, new) = (numbers(old), numbers(new));
        let (old, new): (Vec<_>, Vec<_>) = (old.iter().collect(), new.iter().collect());
        let mut changed = false;
        each_difference(&old, &new, &mut |number| {
            changed = true;
            visit_all(self.numbers.get(number), visit);
        });
        if changed {
            self.number_ranges.between(&old, &new, visit);
        }
    }

    fn of_word(&self, word: &str, visit: &mut impl FnMut(Id)) {
        visit_all(self.words.get(word), visit);
        self.beginnings.that_begin(word, visit);
        if !self.endings.is_empty() {
            self.endings.that_begin(&backwards(word), visit);
        }
        if !self.pieces.is_empty() {
            for (at, _) in word.char_indices() {
                self.pieces.that_begin(&word[at..], visit);
            }
        }
        visit_all(Some(&self.shapeless), visit);
    }
}

fn visit_all(ids: Option<&Vec<Id>>, visit: &mut impl FnMut(Id)) {
    for id in ids.into_iter().flatten() {
        visit(*id);
    }
}

/// The words of all values, in order, each once.
fn words(values: &[Value]) -> Vec<&str> {
    let mut words: Vec<_> = values
        .iter()
        .flat_map(Value::words)
        .map(String::as_str)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn numbers(values: &[Value]) -> Vec<Number> {
    let mut numbers: Vec<_> = values.iter().filter_map(Value::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn parsed(words: &[&str]) -> Vec<Version> {
    let mut versions: Vec<_> = words
        .iter()
        .filter_map(|word| Version::parse(word))
        .collect();
    versions.sort();
    versions
}

/// Visits what is in one of the two only; both are in order.
fn each_difference<'a, T: Ord + ?Sized>(
    mut old: &[&'a T],
    mut new: &[&'a T],
    visit: &mut impl FnMut(&'a T),
) {
    loop {
        match (old, new) {
            ([], []) => return,
            ([a, rest @ ..], [b, more @ ..]) if a == b => (old, new) = (rest, more),
            ([a, rest @ ..], [b, ..]) if a < b => {
                visit(a);
                old = rest;
            }
            ([a, rest @ ..], []) => {
                visit(a);
                old = rest;
            }
            (_, [b, more @ ..]) => {
                visit(b);
                new = more;
            }
        }
    }
}
