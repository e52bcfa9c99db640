//! What a term asks of a document, ready to be asked: folded, and numbers read.

use super::document::{Document, is_searched_by_bare_words};
use super::pattern::Pattern;
use super::place::Near;
use super::value::{Number, Value};
use super::version::{Relation, Version};

/// A question with one answer for each document. Equal ones are asked once,
/// however many definitions ask them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Predicate {
    pub(crate) scope: Scope,
    pub(crate) check: Check,
}

/// Where the values come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Every field that words without a field are searched in.
    Anywhere,
    /// One field.
    Field(String),
    /// Every field of such a name.
    Fields(Pattern),
}

impl Scope {
    /// Whether the values of this field count.
    pub(crate) fn covers(&self, field: &str) -> bool {
        match self {
            Self::Anywhere => is_searched_by_bare_words(field),
            Self::Field(name) => name == field,
            Self::Fields(pattern) => pattern.matches(field),
        }
    }
}

/// What is asked of a value. One value that passes is enough.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// It has a word.
    Present,
    /// One of its words is this, or it is this number.
    Word(String, Option<Number>),
    /// One of its words is like this.
    Like(Pattern),
    /// These words follow each other in it.
    Phrase(Vec<String>),
    /// It is a number in here.
    Numbers(Span<Number>),
    /// One of its words is in here, by the order of characters.
    Words(Span<String>),
    /// One of its words is a version that stands so to this one.
    Version(Relation, Version),
    /// It is a place near here; asked of the document, not of a value.
    Near(Near),
}

/// From one bound to another; a bound says whether it is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span<T> {
    pub(crate) low: Option<(T, bool)>,
    pub(crate) high: Option<(T, bool)>,
}

impl<T> Span<T> {
    /// Whether it is inside.
    pub(crate) fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
    {
        let low = self.low.as_ref().is_none_or(|(low, inside)| {
            let order = value.cmp(low.borrow());
            order.is_gt() || *inside && order.is_eq()
        });
        low && self.high.as_ref().is_none_or(|(high, inside)| {
            let order = value.cmp(high.borrow());
            order.is_lt() || *inside && order.is_eq()
        })
    }
}

impl Predicate {
    /// Whether it holds for this device. A field that is missing holds for
    /// nothing.
    pub(crate) fn holds(&self, document: &Document) -> bool {
        match &self.scope {
            Scope::Field(name) => match &self.check {
                Check::Near(near) => near.matches(document, name),
                check => document.field(name).iter().any(|value| check.holds(value)),
            },
            // Every device there is matches a lone `*`.
            Scope::Anywhere if self.check == Check::Present => true,
            scope => document
                .fields()
                .filter(|(name, _)| scope.covers(name))
                .any(|(_, values)| values.iter().any(|value| self.check.holds(value))),
        }
    }
}

impl Check {
    /// Whether the value passes.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        let words = value.words();
        match self {
            Self::Present => !words.is_empty(),
            Self::Word(word, number) => {
                words.contains(word) || number.is_some() && *number == value.number()
            }
            Self::Like(pattern) => words.iter().any(|word| pattern.matches(word)),
            Self::Phrase(phrase) => {
                !phrase.is_empty() && words.windows(phrase.len()).any(|part| part == phrase)
            }
            Self::Numbers(span) => value.number().is_some_and(|number| span.contains(&number)),
            Self::Words(span) => words.iter().any(|word| span.contains(word.as_str())),
            Self::Version(relation, version) => words.iter().any(|word| {
                Version::parse(word).is_some_and(|found| relation.holds(found.cmp(version)))
            }),
            Self::Near(_) => false,
        }
    }
}
