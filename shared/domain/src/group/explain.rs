//! Why a query holds for a device, or does not.

use serde::Serialize;

use super::check::Scope;
use super::document::Document;
use super::query::{Expression, Query, Term};

/// Whether a query holds for a device, and the clauses that decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it holds.
    pub result: bool,
    /// The clauses by which it came out so: without any of the others it would
    /// have come out the same.
    pub decided_by: Vec<Clause>,
}

/// One term of the query, as it came out for the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// The term.
    pub clause: String,
    /// Whether it holds.
    pub result: bool,
    /// Whether the query has it under NOT.
    pub negated: bool,
    /// The values that it was asked of, the first few of them; none if the
    /// device has no such field.
    pub seen: Vec<String>,
}

/// Values shown of one clause.
const MOST_SEEN: usize = 5;

impl Query {
    /// Asks the query, and says which clauses decided.
    pub fn explain(&self, document: &Document) -> Explanation {
        let mut decided_by = Vec::new();
        let result = decide(&self.expression, document, false, &mut decided_by);
        Explanation { result, decided_by }
    }
}

/// The expression's value; what decided it is added to `decided_by`.
fn decide(
    expression: &Expression,
    document: &Document,
    negated: bool,
    decided_by: &mut Vec<Clause>,
) -> bool {
    match expression {
        Expression::Term(term) => {
            let result = term.predicate.holds(document);
            decided_by.push(clause(term, document, result, negated));
            result
        }
        Expression::Not(inner) => !decide(inner, document, !negated, decided_by),
        Expression::All(clauses) => first_or_all(clauses, false, document, negated, decided_by),
        Expression::Either(clauses) => first_or_all(clauses, true, document, negated, decided_by),
    }
}

/// One clause of this value decides alone; otherwise all of them did.
fn first_or_all(
    clauses: &[Expression],
    decisive: bool,
    document: &Document,
    negated: bool,
    decided_by: &mut Vec<Clause>,
) -> bool {
    let before = decided_by.len();
    for clause in clauses {
        let start = decided_by.len();
        if decide(clause, document, negated, decided_by) == decisive {
            decided_by.drain(before..start);
            return decisive;
        }
    }
    !decisive
}

fn clause(term: &Term, document: &Document, result: bool, negated: bool) -> Clause {
    let predicate = &term.predicate;
    let seen = document
        .fields()
        .filter(|(name, _)| predicate.scope.covers(name))
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        // Of many fields, only those in which it was found say anything.
        .filter(|(_, value)| {
            matches!(predicate.scope, Scope::Field(_)) || predicate.check.holds(value)
        })
        .take(MOST_SEEN)
        .map(|(name, value)| match predicate.scope {
            Scope::Field(_) => value.as_written().to_owned(),
            Scope::Anywhere | Scope::Fields(_) => format!("{name}: {}", value.as_written()),
        })
        .collect();
    Clause {
        clause: term.to_string(),
        result,
        negated,
        seen,
    }
}
