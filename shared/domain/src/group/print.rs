//! The canonical form: the same query, written one way.

use std::fmt;

use super::glyph::{Glyph, from_text};
use super::limits::{MOST_BYTES, MOST_BYTES_WITH_LEADING_WILDCARD};
use super::parse::reads_as;
use super::query::{Bound, Expression, Field, Operand, Query, Range, Term};
use super::scan::{needs_escape, needs_escape_in_bound};
use super::value::is_space;
use super::{Language, document::DYNAMIC_GROUPS};

impl fmt::Display for Query {
    /// Every operator written, and parentheses wherever AND and OR meet, so
    /// that nobody reads it otherwise. If a query is too long for that, it is
    /// written as short as it goes, so that it still reads back as itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = clear(&self.expression, false);
        let most = if self.expression.any_term(&begins_with_a_wildcard) {
            MOST_BYTES_WITH_LEADING_WILDCARD
        } else {
            MOST_BYTES
        };
        if plain.len() <= most {
            f.write_str(&plain)
        } else {
            f.write_str(&brief_text(self))
        }
    }
}

/// The query as short as it goes: no longer than any way to write it.
pub(crate) fn brief_text(query: &Query) -> String {
    let mut text = brief(&query.expression, None, false);
    // Where a space may be left out is for the reader to say.
    let spaces: Vec<_> = text.match_indices(' ').map(|(at, _)| at).collect();
    for at in spaces.into_iter().rev() {
        let without = [&text[..at], &text[at + 1..]].concat();
        if reads_as(&without, query) {
            text = without;
        }
    }
    text
}

impl Query {
    /// The language that is needed to read it.
    pub fn language(&self) -> Language {
        let beyond = |term: &Term| {
            term.field == Field::DynamicGroups || matches!(term.operand, Operand::Version(..))
        };
        if self.expression.any_term(&beyond) {
            Language::Extended
        } else {
            Language::Aws
        }
    }
}

impl Expression {
    pub(crate) fn any_term(&self, holds: &impl Fn(&Term) -> bool) -> bool {
        match self {
            Self::All(clauses) | Self::Either(clauses) => {
                clauses.iter().any(|clause| clause.any_term(holds))
            }
            Self::Not(clause) => clause.any_term(holds),
            Self::Term(term) => holds(term),
        }
    }

    /// The field that all its terms look in, if it is one.
    fn common_field(&self) -> Option<&Field> {
        match self {
            Self::All(clauses) | Self::Either(clauses) => {
                let first = clauses.first()?.common_field()?;
                clauses
                    .iter()
                    .all(|clause| clause.common_field() == Some(first))
                    .then_some(first)
            }
            Self::Not(clause) => clause.common_field(),
            Self::Term(term) => Some(&term.field),
        }
    }
}

fn begins_with_a_wildcard(term: &Term) -> bool {
    matches!(&term.operand, Operand::Word(glyphs)
        if glyphs.len() > 1 && !matches!(glyphs[0], Glyph::Char(_)) || glyphs == &[Glyph::One])
}

fn clear(expression: &Expression, inner: bool) -> String {
    let joined = |clauses: &[Expression], operator: &str| {
        let parts: Vec<_> = clauses.iter().map(|clause| clear(clause, true)).collect();
        if inner {
            format!("({})", parts.join(operator))
        } else {
            parts.join(operator)
        }
    };
    match expression {
        Expression::All(clauses) => joined(clauses, " AND "),
        Expression::Either(clauses) => joined(clauses, " OR "),
        Expression::Not(clause) => format!("NOT {}", clear(clause, true)),
        Expression::Term(term) => term.to_string(),
    }
}

/// As short as it goes: a field written once for what is next to each other,
/// AND by standing side by side, `-` for NOT. `within` is the field of the
/// group that this is written into.
fn brief(expression: &Expression, within: Option<&Field>, inner: bool) -> String {
    match expression {
        Expression::Term(term) if within.is_some() => term.operand_text(),
        Expression::Term(term) => term.to_string(),
        Expression::Not(clause) => format!("-{}", brief(clause, within, true)),
        Expression::All(clauses) => {
            let text = brief_list(clauses, expression, within, " ");
            in_parentheses(text, inner)
        }
        Expression::Either(clauses) => {
            let text = brief_list(clauses, expression, within, " OR ");
            in_parentheses(text, inner)
        }
    }
}

fn in_parentheses((text, is_whole): (String, bool), inner: bool) -> String {
    if inner && !is_whole {
        format!("({text})")
    } else {
        text
    }
}

/// The clauses, and whether they are one group with its field before it.
fn brief_list(
    clauses: &[Expression],
    whole: &Expression,
    within: Option<&Field>,
    operator: &str,
) -> (String, bool) {
    // Clauses side by side bind least, so that an OR among them needs none.
    let inner = |clause: &Expression| {
        !(matches!(whole, Expression::All(_)) && matches!(clause, Expression::Either(_)))
    };
    let in_group = |clauses: &[Expression], field: Option<&Field>| {
        let parts: Vec<_> = clauses
            .iter()
            .enumerate()
            .map(|(at, clause)| match brief(clause, field, inner(clause)) {
                // After a word, it would make that a field's name.
                text if operator == " " && at > 0 && text.starts_with(['<', '>']) => {
                    format!("({text})")
                }
                text => text,
            })
            .collect();
        parts.join(operator)
    };
    if within.is_some() {
        return (in_group(clauses, within), false);
    }
    let mut parts = Vec::new();
    let mut rest = clauses;
    while let [first, ..] = rest {
        let field = first
            .common_field()
            .filter(|field| **field != Field::Anywhere);
        let run = match field {
            None => 1,
            Some(_) => rest
                .iter()
                .take_while(|clause| clause.common_field() == field)
                .count(),
        };
        let (now, later) = rest.split_at(run);
        rest = later;
        match (field, now) {
            (Some(field), [_, _, ..]) => {
                let group = format!("{}:({})", field_text(field), in_group(now, Some(field)));
                let apart: Vec<_> = now
                    .iter()
                    .map(|clause| brief(clause, None, inner(clause)))
                    .collect();
                if group.len() <= apart.join(operator).len() {
                    parts.push(group);
                } else {
                    parts.extend(apart);
                }
            }
            (Some(field), [clause @ (Expression::All(_) | Expression::Either(_))]) => {
                let group = brief(clause, Some(field), false);
                parts.push(format!("{}:({group})", field_text(field)));
            }
            (_, now) => parts.extend(now.iter().map(|clause| brief(clause, None, inner(clause)))),
        }
    }
    let is_whole = parts.len() == 1;
    (parts.join(operator), is_whole)
}

fn field_text(field: &Field) -> String {
    match field {
        Field::Anywhere => String::new(),
        Field::DynamicGroups => DYNAMIC_GROUPS.to_owned(),
        Field::Named(name) => word_text(name, true),
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = self.operand_text();
        match &self.field {
            Field::Anywhere => f.write_str(&operand),
            field => {
                let colon = if operand.starts_with(['<', '>']) {
                    ""
                } else {
                    ":"
                };
                write!(f, "{}{colon}{operand}", field_text(field))
            }
        }
    }
}

impl Term {
    fn operand_text(&self) -> String {
        match &self.operand {
            Operand::Word(glyphs) => word_text(glyphs, false),
            Operand::Phrase(text) => quoted(text),
            Operand::Near(text, _) => text.clone(),
            Operand::Version(relation, text) => {
                let sign = relation.sign().trim_end_matches(':');
                format!("{sign}semver{}", quoted(text))
            }
            Operand::Range(Range {
                low: None,
                high: Some(bound),
            }) if self.is_of_a_field() => comparison('<', bound),
            Operand::Range(Range {
                low: Some(bound),
                high: None,
            }) if self.is_of_a_field() => comparison('>', bound),
            Operand::Range(range) => range_text(range),
        }
    }

    fn is_of_a_field(&self) -> bool {
        self.field != Field::Anywhere
    }
}

fn comparison(sign: char, bound: &Bound) -> String {
    let equal = if bound.inside { "=" } else { "" };
    let value = if bound.quoted {
        quoted(&bound.text)
    } else {
        word_text(&from_text(&bound.text), false)
    };
    format!("{sign}{equal}{value}")
}

fn range_text(range: &Range) -> String {
    let end = |bound: &Option<Bound>| match bound {
        None => "*".to_owned(),
        Some(Bound {
            text, quoted: true, ..
        }) => quoted(text),
        Some(Bound { text, .. }) => bound_text(text),
    };
    let inside = |bound: &Option<Bound>| bound.as_ref().is_none_or(|bound| bound.inside);
    format!(
        "{}{} TO {}{}",
        if inside(&range.low) { '[' } else { '{' },
        end(&range.low),
        end(&range.high),
        if inside(&range.high) { ']' } else { '}' },
    )
}

fn bound_text(text: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        if needs_escape_in_bound(c) || matches!(c, '*' | '?') {
            written.push('\\');
        }
        written.push(c);
    }
    written
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// A word with backslashes where it needs them.
fn word_text(glyphs: &[Glyph], is_field: bool) -> String {
    let mut text = String::new();
    let mut before = None;
    for glyph in glyphs {
        let c = match glyph {
            Glyph::Many => '*',
            Glyph::One => '?',
            Glyph::Char(c) => {
                let first = text.is_empty() && matches!(c, '-' | '+');
                let doubled = matches!(c, '&' | '|') && before == Some(*c);
                let wild = matches!(c, '*') || *c == '?' && !is_field;
                if first || doubled || wild || needs_escape(*c) || is_space(*c) {
                    text.push('\\');
                }
                *c
            }
        };
        text.push(c);
        before = Some(c);
    }
    let reserved = matches!(text.as_str(), "AND" | "OR" | "NOT");
    let number = is_field && text.starts_with(|c: char| c.is_ascii_digit());
    if reserved || number {
        text.insert(0, '\\');
    }
    text
}
