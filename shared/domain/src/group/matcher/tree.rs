//! A definition over predicates, with NOT at the leaves only.

use super::super::check::Predicate;
use super::super::query::Expression;
use super::Id;

#[derive(Clone, Debug)]
pub(super) enum Tree {
    Is(Id),
    IsNot(Id),
    All(Box<[Tree]>),
    Either(Box<[Tree]>),
}

impl Tree {
    pub(super) fn of(expression: &Expression, intern: &mut impl FnMut(&Predicate) -> Id) -> Self {
        Self::signed(expression, false, intern)
    }

    fn signed(
        expression: &Expression,
        negated: bool,
        intern: &mut impl FnMut(&Predicate) -> Id,
    ) -> Self {
        let is_all = matches!(expression, Expression::All(_));
        match expression {
            Expression::Term(term) if negated => Self::IsNot(intern(&term.predicate)),
            Expression::Term(term) => Self::Is(intern(&term.predicate)),
            Expression::Not(inner) => Self::signed(inner, !negated, intern),
            Expression::All(clauses) | Expression::Either(clauses) => {
                let clauses = clauses
                    .iter()
                    .map(|clause| Self::signed(clause, negated, intern))
                    .collect();
                // De Morgan.
                if is_all == negated {
                    Self::Either(clauses)
                } else {
                    Self::All(clauses)
                }
            }
        }
    }

    /// Its value; `truth` is asked for no more than it takes.
    pub(super) fn value(&self, truth: &mut impl FnMut(Id) -> bool) -> bool {
        match self {
            Self::Is(predicate) => truth(*predicate),
            Self::IsNot(predicate) => !truth(*predicate),
            Self::All(clauses) => clauses.iter().all(|clause| clause.value(truth)),
            Self::Either(clauses) => clauses.iter().any(|clause| clause.value(truth)),
        }
    }

    /// Its value, if what is known decides it.
    pub(super) fn known(&self, truth: &impl Fn(Id) -> Option<bool>) -> Option<bool> {
        let decided = |clauses: &[Self], decisive: bool| {
            let mut all_known = true;
            for clause in clauses {
                match clause.known(truth) {
                    Some(value) if value == decisive => return Some(decisive),
                    Some(_) => {}
                    None => all_known = false,
                }
            }
            all_known.then_some(!decisive)
        };
        match self {
            Self::Is(predicate) => truth(*predicate),
            Self::IsNot(predicate) => truth(*predicate).map(|value| !value),
            Self::All(clauses) => decided(clauses, false),
            Self::Either(clauses) => decided(clauses, true),
        }
    }

    pub(super) fn each(&self, visit: &mut impl FnMut(Id)) {
        match self {
            Self::Is(predicate) | Self::IsNot(predicate) => visit(*predicate),
            Self::All(clauses) | Self::Either(clauses) => {
                for clause in clauses {
                    clause.each(visit);
                }
            }
        }
    }
}
