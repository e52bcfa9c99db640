//! The grammar, by recursive descent; each rule is a function.
//!
//! ```text
//! query  = either+                      side by side: AND, at the lowest precedence
//! either = all ("OR" all)*
//! all    = clause ("AND" clause)*
//! clause = ("NOT" | "-")? (field (":" | "="))? (group | term)
//! group  = "(" query ")"
//! term   = word | phrase | range | comparison
//! ```

mod operand;

use super::document::{DYNAMIC_GROUPS, why_impossible};
use super::glyph::{Glyph, literal};
use super::limits::{MOST_BYTES, MOST_BYTES_WITH_LEADING_WILDCARD};
use super::problem::{QueryError, Warning};
use super::query::{Expression, Field, Language, Operand, Parsed, Query};
use super::scan::{Scanner, Word, check_wildcards};
use super::value::words;
use super::version::Relation;

const OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];
const GEO: &str = "geo_distance";
const SEMVER: &str = "semver";

/// Reads a whole query.
pub(crate) fn parse(text: &str, language: Language) -> Result<Parsed, QueryError> {
    if text.len() > MOST_BYTES {
        return Err(too_long(text, MOST_BYTES, ""));
    }
    let (mut parser, expression) = read(text, language)?;
    if parser.leading_wildcard.is_some() && text.len() > MOST_BYTES_WITH_LEADING_WILDCARD {
        let why = ", since a term begins with a wildcard";
        return Err(too_long(text, MOST_BYTES_WITH_LEADING_WILDCARD, why));
    }
    parser.warnings.sort_by_key(|warning| warning.at);
    parser.warnings.dedup();
    Ok(Parsed {
        query: Query { expression },
        warnings: parser.warnings,
    })
}

/// Whether a text, were it short enough, would be read as this query.
pub(crate) fn reads_as(text: &str, query: &Query) -> bool {
    read(text, query.language()).is_ok_and(|(_, found)| found == query.expression)
}

fn read(text: &str, language: Language) -> Result<(Parser, Expression), QueryError> {
    let mut parser = Parser {
        scanner: Scanner::new(text),
        language,
        terms: 0,
        leading_wildcard: None,
        warnings: Vec::new(),
    };
    let expression = parser.query(None)?;
    if parser.scanner.peek().is_some() {
        return Err(parser.scanner.forbidden(')'));
    }
    Ok((parser, expression))
}

fn too_long(text: &str, most: usize, why: &str) -> QueryError {
    let at = text
        .char_indices()
        .take_while(|(start, c)| start + c.len_utf8() <= most)
        .count();
    QueryError::new(
        at,
        format!(
            "the query has {} bytes, and AWS IoT takes {most}{why}",
            text.len()
        ),
        "Shorten it; characters outside ASCII take two to four bytes each",
    )
}

struct Parser {
    scanner: Scanner,
    language: Language,
    terms: usize,
    /// Where the term is that begins with a wildcard.
    leading_wildcard: Option<usize>,
    warnings: Vec<Warning>,
}

/// The field of a group or a term: its name, and where that is.
type Named = (Field, usize);

impl Parser {
    fn warn(&mut self, at: usize, text: impl Into<String>) {
        self.warnings.push(Warning {
            at,
            text: text.into(),
        });
    }

    fn query(&mut self, field: Option<&Named>) -> Result<Expression, QueryError> {
        let mut clauses = Vec::new();
        // Where this level has its first OR, and whether it has any AND.
        let (mut or, mut and) = (None, false);
        loop {
            clauses.push(self.either(field, &mut or, &mut and)?);
            self.scanner.skip_space();
            if matches!(self.scanner.peek(), None | Some(')')) {
                break;
            }
        }
        if let (Some(at), true) = (or, and || clauses.len() > 1) {
            self.warn(
                at,
                "AND and OR are mixed without parentheses: here AND binds tighter than OR, and \
                 clauses side by side bind least; AWS IoT may read it otherwise. Add parentheses",
            );
        }
        Ok(Expression::all(clauses))
    }

    fn either(
        &mut self,
        field: Option<&Named>,
        or: &mut Option<usize>,
        and: &mut bool,
    ) -> Result<Expression, QueryError> {
        let mut clauses = vec![self.all(field, and)?];
        while let Some(at) = self.operator("OR") {
            or.get_or_insert(at);
            clauses.push(self.all(field, and)?);
        }
        Ok(Expression::either(clauses))
    }

    fn all(&mut self, field: Option<&Named>, and: &mut bool) -> Result<Expression, QueryError> {
        let mut clauses = vec![self.clause(field)?];
        while self.operator("AND").is_some() {
            *and = true;
            clauses.push(self.clause(field)?);
        }
        Ok(Expression::all(clauses))
    }

    /// Reads an operator, and says where it was.
    fn operator(&mut self, name: &str) -> Option<usize> {
        self.scanner.skip_space();
        let at = self.scanner.at;
        self.scanner.take_word(name).then_some(at)
    }

    fn clause(&mut self, field: Option<&Named>) -> Result<Expression, QueryError> {
        if !self.negation() {
            return self.positive(field);
        }
        self.scanner.skip_space();
        let at = self.scanner.at;
        if self.negation() {
            return Err(QueryError::new(
                at,
                "NOT stands twice",
                "Leave both out, or put what is to be negated into parentheses",
            ));
        }
        self.positive(field).map(Expression::not)
    }

    fn negation(&mut self) -> bool {
        self.scanner.skip_space();
        self.scanner.take('-') || self.scanner.take_word("NOT")
    }

    fn positive(&mut self, field: Option<&Named>) -> Result<Expression, QueryError> {
        self.scanner.skip_space();
        let at = self.scanner.at;
        match self.scanner.peek() {
            Some('(') => self.group(field),
            Some(_) if self.scanner.at_word() && self.no_operator()? => {
                let word = self.scanner.word()?;
                self.scanner.skip_space();
                match self.scanner.peek() {
                    Some(':' | '=' | '<' | '>') if field.is_none() => self.after_field(&word),
                    Some(':' | '=' | '<' | '>') => Err(QueryError::new(
                        self.scanner.at,
                        "a field inside the parentheses of another field",
                        r"Close the group first; inside a value write \ before the character",
                    )),
                    _ => {
                        self.warn_of_a_small_operator(&word);
                        self.word(field, word)
                    }
                }
            }
            _ => self.operand(field, at),
        }
    }

    /// What follows the name of a field.
    fn after_field(&mut self, name: &Word) -> Result<Expression, QueryError> {
        let field = (self.field(name)?, name.at);
        if !self.scanner.take(':') {
            self.scanner.take('=');
        }
        self.scanner.skip_space();
        let at = self.scanner.at;
        match self.scanner.peek() {
            Some('(') => self.group(Some(&field)),
            _ => self.operand(Some(&field), at),
        }
    }

    fn field(&mut self, name: &Word) -> Result<Field, QueryError> {
        if name
            .plain_text()
            .is_some_and(|text| is_a_number_token(&text))
        {
            return Err(QueryError::new(
                name.at,
                "a number is no name of a field",
                r"Name the field first, and escape a : inside a value as \:",
            ));
        }
        // `?` is a character of a name; only `*` stands for others.
        let glyphs: Vec<_> = name
            .glyphs
            .iter()
            .map(|glyph| match glyph {
                Glyph::One => Glyph::Char('?'),
                other => *other,
            })
            .collect();
        let text = literal(&glyphs);
        if self.language == Language::Extended && text.as_deref() == Some(DYNAMIC_GROUPS) {
            return Ok(Field::DynamicGroups);
        }
        if glyphs == [Glyph::Many] {
            return Ok(Field::Anywhere);
        }
        if let Some(why) = text.as_deref().and_then(why_impossible) {
            let text = text.unwrap_or_default();
            self.warn(
                name.at,
                format!("no device can have the field {text}: {why}"),
            );
        }
        Ok(Field::Named(glyphs))
    }

    fn group(&mut self, field: Option<&Named>) -> Result<Expression, QueryError> {
        let opened = self.scanner.at;
        self.scanner.at += 1;
        self.scanner.skip_space();
        if self.scanner.peek() == Some(')') {
            return Err(QueryError::new(
                opened,
                "the parentheses are empty",
                "Put clauses between them, or leave them out",
            ));
        }
        let expression = self.query(field)?;
        if self.scanner.take(')') {
            Ok(expression)
        } else {
            Err(QueryError::new(
                opened,
                "this parenthesis is never closed",
                "Close it with ) where the group ends",
            ))
        }
    }

    /// A term, or what is wrong with the character in its place.
    fn operand(&mut self, field: Option<&Named>, at: usize) -> Result<Expression, QueryError> {
        match self.scanner.peek() {
            None => Err(self.missing(field)),
            Some(')') => Err(match (self.terms, field) {
                (0, None) => self.scanner.forbidden(')'),
                _ => self.missing(field),
            }),
            Some('"') => {
                let text = self.scanner.phrase()?;
                if words(&text).is_empty() {
                    self.warn(at, "a phrase without words is found nowhere");
                }
                self.term(field, at, Operand::Phrase(text))
            }
            Some('[' | '{') => self.range(field),
            Some('<' | '>') if field.is_some() => self.comparison(field, at),
            Some('-') => Err(QueryError::new(
                at,
                "a value cannot begin with an unescaped hyphen, which means NOT",
                r#"Write \-5 or "-5" for a negative number, and -field:value to negate"#,
            )),
            Some(_) if self.scanner.at_word() && self.no_operator()? => {
                let word = self.scanner.word()?;
                self.word(field, word)
            }
            Some(c) => Err(self.scanner.forbidden(c)),
        }
    }

    fn missing(&self, field: Option<&Named>) -> QueryError {
        let (reason, remedy) = match (self.terms, field) {
            (0, None) => (
                "the query is empty",
                "Write a term, for instance thingTypeName:streetlight; * finds all devices",
            ),
            (_, Some(_)) => (
                "a value is missing here",
                "Write what the field should be; field:* finds all that have it",
            ),
            _ => (
                "a clause is missing here",
                "Complete the query, or remove the operator before",
            ),
        };
        QueryError::new(self.scanner.at, reason, remedy)
    }

    /// An error if an operator stands where a word would.
    fn no_operator(&self) -> Result<bool, QueryError> {
        for operator in OPERATORS {
            if self.scanner.next_is_word(operator) {
                return Err(QueryError::new(
                    self.scanner.at,
                    format!("{operator} stands where a term should"),
                    format!(
                        "Remove it, or put a clause before it; to search for the word write \
                         \\{operator}"
                    ),
                ));
            }
        }
        Ok(true)
    }

    fn warn_of_a_small_operator(&mut self, word: &Word) {
        let text = word.plain_text().map(|text| text.to_ascii_uppercase());
        if let Some(text) = text.filter(|text| OPERATORS.contains(&text.as_str())) {
            let small = text.to_lowercase();
            self.warn(
                word.at,
                format!("{small} is searched for as a word; the operator is {text}"),
            );
        }
    }

    /// A term that is an unquoted word, or begins like one.
    fn word(&mut self, field: Option<&Named>, word: Word) -> Result<Expression, QueryError> {
        let plain = word.plain_text();
        match plain.as_deref() {
            Some(GEO) if self.scanner.peek() == Some(',') => return self.near(field, word.at),
            Some(SEMVER) if self.scanner.peek() == Some('"') && field.is_some() => {
                return self.version(field, word.at, Relation::Equal);
            }
            _ => {}
        }
        check_wildcards(&word)?;
        if matches!(word.glyphs.as_slice(), [Glyph::Many | Glyph::One, rest @ ..]
            if !(rest.is_empty() && word.glyphs == [Glyph::Many]))
        {
            if self.leading_wildcard.is_some() {
                return Err(QueryError::new(
                    word.at,
                    "a second term begins with a wildcard, and AWS IoT takes one",
                    "Begin one of them with the characters that are known",
                ));
            }
            self.leading_wildcard = Some(word.at);
        }
        let at = word.at;
        self.term(field, at, Operand::Word(word.glyphs))
    }
}

/// What Lucene reads as a number wherever it stands.
fn is_a_number_token(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}
