//! A query as it was understood.

use super::check::{Check, Predicate, Scope, Span};
use super::document::{DYNAMIC_GROUPS, Document};
use super::glyph::{Glyph, literal};
use super::pattern::Pattern;
use super::place::Near;
use super::problem::{QueryError, Warning};
use super::value::{Number, folded, words};
use super::version::{Relation, Version};

/// Which language a query is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// AWS IoT's.
    #[default]
    Aws,
    /// The same, with versions (`attributes.firmware<semver"1.10.0"`) and
    /// membership of other dynamic groups (`dynamicGroupNames:name`), which
    /// AWS would not understand.
    Extended,
}

/// A query that was read, and what its author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The query.
    pub query: Query,
    /// What it may not mean.
    pub warnings: Vec<Warning>,
}

/// A query: asked of a device's document, it holds or it does not.
///
/// It displays as its canonical form, which reads back as itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(crate) expression: Expression,
}

impl Query {
    /// Reads a query. Its error points at the first character at fault.
    pub fn parse(text: &str, language: Language) -> Result<Parsed, QueryError> {
        super::parse::parse(text, language)
    }

    /// The same, of members of another dynamic group only.
    #[must_use]
    pub fn within(self, group: &str) -> Self {
        let member = Term::new(Field::DynamicGroups, Operand::Phrase(group.to_owned()));
        let member = Expression::Term(Box::new(member));
        Self {
            expression: Expression::all(vec![member, self.expression]),
        }
    }

    /// Whether it asks for other dynamic groups.
    pub fn nests(&self) -> bool {
        let asks = |term: &Term| term.field == Field::DynamicGroups;
        self.expression.any_term(&asks)
    }

    /// Whether it holds for this device.
    pub fn matches(&self, document: &Document) -> bool {
        self.expression
            .holds(&|term| term.predicate.holds(document))
    }

    /// Whether a device's shadow may have to be read to tell.
    pub(crate) fn may_ask_the_shadow(&self) -> bool {
        self.expression.any_scope(&|scope| match scope {
            Scope::Field(name) => name.starts_with("shadow."),
            Scope::Anywhere | Scope::Fields(_) => true,
        })
    }

    /// A field that neither the registry nor a shadow has, if one is named.
    pub(crate) fn asks_beyond_the_registry(&self) -> Option<&'static str> {
        let sections = ["connectivity", "deviceDefender", DYNAMIC_GROUPS];
        sections.into_iter().find(|section| {
            self.expression.any_scope(
                &|scope| matches!(scope, Scope::Field(name) if name.starts_with(section)),
            )
        })
    }
}

/// Clauses and how they hang together. Neither an `All` has an `All` among its
/// clauses, nor an `Either` an `Either`; both have at least two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    All(Vec<Expression>),
    Either(Vec<Expression>),
    Not(Box<Expression>),
    Term(Box<Term>),
}

impl Expression {
    pub(crate) fn all(clauses: Vec<Self>) -> Self {
        Self::joined(clauses, Self::All, |clause| match clause {
            Self::All(inner) => Ok(inner),
            other => Err(other),
        })
    }

    pub(crate) fn either(clauses: Vec<Self>) -> Self {
        Self::joined(clauses, Self::Either, |clause| match clause {
            Self::Either(inner) => Ok(inner),
            other => Err(other),
        })
    }

    fn joined(
        clauses: Vec<Self>,
        join: fn(Vec<Self>) -> Self,
        open: fn(Self) -> Result<Vec<Self>, Self>,
    ) -> Self {
        let mut flat = Vec::with_capacity(clauses.len());
        for clause in clauses {
            match open(clause) {
                Ok(inner) => flat.extend(inner),
                Err(clause) => flat.push(clause),
            }
        }
        match flat.len() {
            1 => flat.remove(0),
            _ => join(flat),
        }
    }

    pub(crate) fn not(clause: Self) -> Self {
        match clause {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    fn any_scope(&self, is: &impl Fn(&Scope) -> bool) -> bool {
        match self {
            Self::All(clauses) | Self::Either(clauses) => {
                clauses.iter().any(|clause| clause.any_scope(is))
            }
            Self::Not(clause) => clause.any_scope(is),
            Self::Term(term) => is(&term.predicate.scope),
        }
    }

    /// Its value, when `holds` says that of each term. A term that is missing
    /// is false, and `NOT` the plain complement.
    pub(crate) fn holds(&self, holds: &impl Fn(&Term) -> bool) -> bool {
        match self {
            Self::All(clauses) => clauses.iter().all(|clause| clause.holds(holds)),
            Self::Either(clauses) => clauses.iter().any(|clause| clause.holds(holds)),
            Self::Not(clause) => !clause.holds(holds),
            Self::Term(term) => holds(term),
        }
    }
}

/// One term: a field, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) field: Field,
    pub(crate) operand: Operand,
    pub(crate) predicate: Predicate,
}

/// Where a term looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// No field is named.
    Anywhere,
    /// A field's name, in which `*` stands for any characters.
    Named(Vec<Glyph>),
    /// The dynamic groups, which only [`Language::Extended`] knows.
    DynamicGroups,
}

/// What a term looks for, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Word(Vec<Glyph>),
    Phrase(String),
    Range(Range),
    Near(String, Near),
    Version(Relation, String),
}

/// A range; at least one end is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: Option<Bound>,
    pub(crate) high: Option<Bound>,
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) text: String,
    pub(crate) quoted: bool,
    pub(crate) inside: bool,
}

impl Term {
    pub(crate) fn new(field: Field, operand: Operand) -> Self {
        let scope = match &field {
            Field::Anywhere => Scope::Anywhere,
            Field::DynamicGroups => Scope::Field(DYNAMIC_GROUPS.to_owned()),
            Field::Named(name) => match literal(name) {
                // The name is the document's for those groups, and AWS has no
                // such field: without the extension nothing is found in it.
                Some(name) if name == DYNAMIC_GROUPS => Scope::Field(String::new()),
                Some(name) => Scope::Field(name),
                None => Scope::Fields(Pattern::exact(name)),
            },
        };
        let predicate = Predicate {
            scope,
            check: operand.check(),
        };
        Self {
            field,
            operand,
            predicate,
        }
    }
}

impl Operand {
    fn check(&self) -> Check {
        match self {
            Self::Word(glyphs) => match literal(glyphs) {
                Some(text) => one_or_more(words(&text), Number::spelt(&text)),
                None => match Pattern::folded(glyphs) {
                    pattern if pattern.is_any() => Check::Present,
                    pattern => Check::Like(pattern),
                },
            },
            Self::Phrase(text) => one_or_more(words(text), None),
            Self::Range(range) => range.check(),
            Self::Near(_, near) => Check::Near(near.clone()),
            Self::Version(relation, text) => match Version::parse(text) {
                Some(version) => Check::Version(*relation, version),
                None => Check::Phrase(Vec::new()),
            },
        }
    }
}

fn one_or_more(mut words: Vec<String>, number: Option<Number>) -> Check {
    match words.len() {
        1 => Check::Word(words.remove(0), number),
        _ => Check::Phrase(words),
    }
}

impl Range {
    /// Unquoted numbers compare numbers, everything else compares texts.
    fn check(&self) -> Check {
        let low = self.low.as_ref().map(Bound::number);
        let high = self.high.as_ref().map(Bound::number);
        match (low, high) {
            (Some(None), _) | (_, Some(None)) => Check::Words(Span {
                low: self.low.as_ref().map(Bound::word),
                high: self.high.as_ref().map(Bound::word),
            }),
            (low, high) => Check::Numbers(Span {
                low: low.flatten(),
                high: high.flatten(),
            }),
        }
    }
}

impl Bound {
    fn number(&self) -> Option<(Number, bool)> {
        let number = (!self.quoted)
            .then(|| Number::spelt(&self.text))
            .flatten()?;
        Some((number, self.inside))
    }

    fn word(&self) -> (String, bool) {
        (folded(&self.text), self.inside)
    }
}
