//! Terms that are more than a word: ranges, comparisons, places, versions.

use super::super::glyph::{Glyph, literal};
use super::super::limits::MOST_TERMS;
use super::super::place::Near;
use super::super::problem::QueryError;
use super::super::query::{Bound, Expression, Field, Language, Operand, Range, Term};
use super::super::scan::BoundText;
use super::super::value::{Number, folded, is_space};
use super::super::version::{Relation, Version};
use super::{GEO, Named, Parser, SEMVER};

impl Parser {
    pub(super) fn near(
        &mut self,
        field: Option<&Named>,
        at: usize,
    ) -> Result<Expression, QueryError> {
        if !matches!(field, Some((Field::Named(name), _)) if literal(name).is_some()) {
            return Err(QueryError::new(
                at,
                "geo_distance needs the field that has the place",
                "Write field:geo_distance,47.6204,-122.3491,15.5km",
            ));
        }
        self.scanner.at += 1;
        let arguments = self.scanner.place();
        let near = Near::parse(&arguments).map_err(|reason| {
            QueryError::new(
                at,
                reason,
                "Write geo_distance,47.6204,-122.3491,15.5km, with m, km, mi, yd, ft or nmi",
            )
        })?;
        self.term(field, at, Operand::Near(format!("{GEO},{arguments}"), near))
    }

    pub(super) fn version(
        &mut self,
        field: Option<&Named>,
        at: usize,
        relation: Relation,
    ) -> Result<Expression, QueryError> {
        if self.language == Language::Aws {
            return Err(QueryError::new(
                at,
                "comparing versions is Lamplighter's own, which AWS IoT does not understand",
                "Mark the definition as going beyond AWS",
            ));
        }
        let quoted_at = self.scanner.at;
        let text = self.scanner.phrase()?;
        if Version::parse(&text).is_none() {
            return Err(QueryError::new(
                quoted_at,
                "this is no version",
                r#"Write numbers with dots between them, as in semver"1.10.0""#,
            ));
        }
        self.term(field, at, Operand::Version(relation, text))
    }

    pub(super) fn comparison(
        &mut self,
        field: Option<&Named>,
        at: usize,
    ) -> Result<Expression, QueryError> {
        let more = self.scanner.take('>');
        if !more {
            self.scanner.take('<');
        }
        let inside = self.scanner.take('=');
        self.scanner.skip_space();
        let value_at = self.scanner.at;
        let (text, quoted) = match self.scanner.peek() {
            None | Some(')') => return Err(self.missing(field)),
            Some('"') => (self.scanner.phrase()?, true),
            Some('-') => {
                return Err(QueryError::new(
                    value_at,
                    "a value cannot begin with an unescaped hyphen, which means NOT",
                    r"Escape it: field<\-5, or use a range: field:[-10 TO -5]",
                ));
            }
            Some(_) if self.scanner.at_word() && self.no_operator()? => {
                let word = self.scanner.word()?;
                if word.plain_text().as_deref() == Some(SEMVER) && self.scanner.peek() == Some('"')
                {
                    return self.version(field, word.at, relation(more, inside));
                }
                let text = literal(&word.glyphs).ok_or_else(|| {
                    QueryError::new(
                        value_at,
                        "a comparison takes a value, not a pattern",
                        r"Write the value; \* and \? are the characters; field:* means present",
                    )
                })?;
                (text, false)
            }
            Some(c) => return Err(self.scanner.forbidden(c)),
        };
        let bound = Some(self.bound(value_at, text, quoted, inside));
        let (low, high) = if more { (bound, None) } else { (None, bound) };
        let range = Range { low, high };
        self.term(field, at, Operand::Range(range))
    }

    pub(super) fn range(&mut self, field: Option<&Named>) -> Result<Expression, QueryError> {
        let opened = self.scanner.at;
        let inside = self.scanner.peek() == Some('[');
        self.scanner.at += 1;
        let low = self.scanner.bound("lower")?;
        self.to(opened)?;
        let high = self.scanner.bound("upper")?;
        let inside_high = self.range_closed(opened)?;
        let range = Range {
            low: self.range_end(low, inside),
            high: self.range_end(high, inside_high),
        };
        let operand = if range.low.is_none() && range.high.is_none() {
            // Open at both ends: present.
            Operand::Word(vec![Glyph::Many])
        } else {
            Operand::Range(range)
        };
        self.term(field, opened, operand)
    }

    /// Reads the `TO` between the ends of a range.
    fn to(&mut self, opened: usize) -> Result<(), QueryError> {
        self.scanner.skip_space();
        let ahead = [0, 1, 2].map(|ahead| self.scanner.peek_at(ahead));
        match ahead {
            [Some('T'), Some('O'), next]
                if next.is_none_or(|c| is_space(c) || "]}\"".contains(c)) =>
            {
                self.scanner.at += 2;
                Ok(())
            }
            [None, ..] => Err(unclosed(opened)),
            _ => Err(QueryError::new(
                self.scanner.at,
                "a range has TO, in capitals, between its ends",
                "Write [75 TO 80]",
            )),
        }
    }

    /// Reads the end of a range, and says whether its upper bound is inside.
    fn range_closed(&mut self, opened: usize) -> Result<bool, QueryError> {
        self.scanner.skip_space();
        match self.scanner.peek() {
            Some(c @ (']' | '}')) => {
                self.scanner.at += 1;
                Ok(c == ']')
            }
            None => Err(unclosed(opened)),
            Some(_) => Err(QueryError::new(
                self.scanner.at,
                "a range has two ends and no more",
                r#"Close it with ] or }; quote an end that has spaces: "new york""#,
            )),
        }
    }

    fn range_end(&mut self, end: BoundText, inside: bool) -> Option<Bound> {
        (!end.open).then(|| self.bound(end.at, end.text, end.quoted, inside))
    }

    fn bound(&mut self, at: usize, text: String, quoted: bool, inside: bool) -> Bound {
        let dots = text.matches('.').count();
        if dots > 1 && Number::spelt(&text).is_none() && Version::parse(&text).is_some() {
            self.warn(
                at,
                "versions are compared as texts here, and 1.10.0 comes before 1.9.0; \
                 semver\"…\" compares them, beyond AWS",
            );
        }
        Bound {
            text,
            quoted,
            inside,
        }
    }

    pub(super) fn term(
        &mut self,
        field: Option<&Named>,
        at: usize,
        operand: Operand,
    ) -> Result<Expression, QueryError> {
        self.terms += 1;
        if self.terms > MOST_TERMS {
            return Err(QueryError::new(
                at,
                format!(
                    "this is term {}, and AWS IoT takes {MOST_TERMS}",
                    self.terms
                ),
                "Split the query into several groups",
            ));
        }
        let field = field.map_or(Field::Anywhere, |(field, _)| field.clone());
        if asks_for_no_violation(&field, &operand) {
            return Err(QueryError::new(
                at,
                "inViolation:false is no valid query: what is not in violation has no such field",
                "Write NOT …inViolation:true",
            ));
        }
        Ok(Expression::Term(Box::new(Term::new(field, operand))))
    }
}

fn unclosed(opened: usize) -> QueryError {
    QueryError::new(
        opened,
        "this range is never closed",
        "Close it with ], or } to leave its end out",
    )
}

fn relation(more: bool, inside: bool) -> Relation {
    match (more, inside) {
        (false, false) => Relation::Less,
        (false, true) => Relation::AtMost,
        (true, true) => Relation::AtLeast,
        (true, false) => Relation::More,
    }
}

/// Device Defender has a field for a violation, and none for its absence
/// (Developer Guide, "Managing fleet indexing").
fn asks_for_no_violation(field: &Field, operand: &Operand) -> bool {
    let Field::Named(name) = field else {
        return false;
    };
    let value = match operand {
        Operand::Word(glyphs) => literal(glyphs),
        Operand::Phrase(text) => Some(text.clone()),
        _ => None,
    };
    literal(name)
        .is_some_and(|name| name.starts_with("deviceDefender.") && name.ends_with(".inViolation"))
        && value.is_some_and(|value| folded(&value) == "false")
}
