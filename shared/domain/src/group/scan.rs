//! Reading words, phrases and bounds, character by character.

use super::glyph::Glyph;
use super::limits::{MOST_MARKS, MOST_STARS};
use super::problem::QueryError;
use super::value::is_space;

/// Characters that AWS does not support in a word unless they are escaped.
const UNSUPPORTED: &str = "`@#%;',";
/// Characters with a meaning of their own, unless they are escaped.
const SPECIAL: &str = "()[]{}\":=<>^~/!\\";

/// Whether an unquoted word has to escape this character wherever it stands.
pub(crate) fn needs_escape(c: char) -> bool {
    SPECIAL.contains(c) || UNSUPPORTED.contains(c) || is_space(c)
}

/// Whether an unquoted bound of a range has to.
pub(crate) fn needs_escape_in_bound(c: char) -> bool {
    "[]{}\"\\/".contains(c) || UNSUPPORTED.contains(c) || is_space(c)
}

/// A query's characters, and how far they are read.
pub(crate) struct Scanner {
    chars: Vec<char>,
    pub(crate) at: usize,
}

/// A word as it was read.
pub(crate) struct Word {
    pub(crate) glyphs: Vec<Glyph>,
    /// Where it starts.
    pub(crate) at: usize,
    /// Whether it is written without backslashes.
    pub(crate) plain: bool,
}

/// A bound as it was read.
pub(crate) struct BoundText {
    pub(crate) text: String,
    pub(crate) at: usize,
    pub(crate) quoted: bool,
    /// An unquoted, unescaped `*`.
    pub(crate) open: bool,
}

impl Word {
    /// Its text, if it is written without wildcards and backslashes.
    pub(crate) fn plain_text(&self) -> Option<String> {
        self.plain
            .then(|| super::glyph::literal(&self.glyphs))
            .flatten()
    }
}

impl Scanner {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            chars: text.chars().collect(),
            at: 0,
        }
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(crate) fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// Reads this character if it is the next.
    pub(crate) fn take(&mut self, c: char) -> bool {
        let next = self.peek() == Some(c);
        self.at += usize::from(next);
        next
    }

    /// Whether the next word is this one, plainly written.
    pub(crate) fn next_is_word(&self, word: &str) -> bool {
        let end = self.at + word.chars().count();
        self.chars
            .get(self.at..end)
            .is_some_and(|chars| chars.iter().copied().eq(word.chars()))
            && self
                .chars
                .get(end)
                .is_none_or(|&c| c != '\\' && needs_escape(c))
    }

    /// Reads that word if it is the next.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let next = self.next_is_word(word);
        if next {
            self.at += word.chars().count();
        }
        next
    }

    /// Whether an unquoted word begins here.
    pub(crate) fn at_word(&self) -> bool {
        match self.peek() {
            None | Some('-' | '+') => false,
            Some('\\') => true,
            Some(c @ ('&' | '|')) => self.peek_at(1) != Some(c),
            Some(c) => !needs_escape(c),
        }
    }

    /// An unquoted word, up to white space or a character with a meaning of
    /// its own.
    pub(crate) fn word(&mut self) -> Result<Word, QueryError> {
        let (at, mut glyphs, mut plain) = (self.at, Vec::new(), true);
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    plain = false;
                    glyphs.push(Glyph::Char(self.escaped()?));
                }
                '*' => glyphs.push(Glyph::Many),
                '?' => glyphs.push(Glyph::One),
                '&' | '|' if self.peek_at(1) == Some(c) => break,
                c if needs_escape(c) => break,
                c => glyphs.push(Glyph::Char(c)),
            }
            self.at += 1;
        }
        Ok(Word { glyphs, at, plain })
    }

    /// The character after a backslash; stays on it.
    fn escaped(&mut self) -> Result<char, QueryError> {
        self.at += 1;
        self.peek().ok_or_else(|| {
            QueryError::new(
                self.at - 1,
                "a backslash at the end escapes nothing",
                r"Write \\ for a backslash, or leave it out",
            )
        })
    }

    /// What follows the comma of `geo_distance,`, up to white space or a
    /// parenthesis.
    pub(crate) fn place(&mut self) -> String {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| !is_space(c) && !"()".contains(c))
        {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// A phrase, from its opening to its closing quotation mark.
    pub(crate) fn phrase(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
            self.at += 1;
        }
        Err(QueryError::new(
            start,
            "this quotation mark is never closed",
            r#"Close it with ", or write \" for the character"#,
        ))
    }

    /// One end of a range; `side` is what to call it.
    pub(crate) fn bound(&mut self, side: &str) -> Result<BoundText, QueryError> {
        self.skip_space();
        let at = self.at;
        if self.peek() == Some('"') {
            let text = self.phrase()?;
            return Ok(BoundText {
                text,
                at,
                quoted: true,
                open: false,
            });
        }
        let (mut text, mut plain) = (String::new(), true);
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    plain = false;
                    text.push(self.escaped()?);
                }
                ']' | '}' => break,
                c if is_space(c) => break,
                c if needs_escape_in_bound(c) => return Err(self.forbidden(c)),
                c => text.push(c),
            }
            self.at += 1;
        }
        if text.is_empty() {
            return Err(QueryError::new(
                at,
                format!("the range's {side} end is missing"),
                "Write both, as in [75 TO 80]; * is an open end",
            ));
        }
        let open = plain && text == "*";
        if plain && !open && text.contains(['*', '?']) {
            return Err(QueryError::new(
                at,
                "a range has no wildcards within its ends",
                r"Use * alone for an open end, or escape the character with \",
            ));
        }
        Ok(BoundText {
            text,
            at,
            quoted: false,
            open,
        })
    }

    /// What is wrong with a character that cannot stand here unescaped.
    pub(crate) fn forbidden(&self, c: char) -> QueryError {
        let escape = format!(r"Write \{c} to search for the character");
        let (reason, remedy) = match c {
            '~' => (
                "AWS IoT has no fuzzy or proximity search".to_owned(),
                "Use wildcards (* and ?), or write \\~ for the character".to_owned(),
            ),
            '^' => (
                "AWS IoT has no boosting: groups have no ranking".to_owned(),
                "Leave it out, or write \\^ for the character".to_owned(),
            ),
            '/' => (
                "AWS IoT has no regular expressions, and / is not supported in words".to_owned(),
                "Use wildcards (* and ?), or write \\/ for the character".to_owned(),
            ),
            '!' => (
                "! is no operator here".to_owned(),
                "Write NOT, or \\! for the character".to_owned(),
            ),
            '+' => (
                "+ is no operator here: every clause is required already".to_owned(),
                "Leave it out, or write \\+ for the character".to_owned(),
            ),
            '&' => (
                "&& is no operator here".to_owned(),
                "Write AND, or \\&\\& for the characters".to_owned(),
            ),
            '|' => (
                "|| is no operator here".to_owned(),
                "Write OR, or \\|\\| for the characters".to_owned(),
            ),
            ':' | '=' => (
                format!("{c} follows the name of a field, and here is none"),
                format!("Name the field before it; inside a value write \\{c}"),
            ),
            '<' | '>' => (
                format!("{c} compares a field, and here is none"),
                format!("Name the field before it; inside a value write \\{c}"),
            ),
            ')' => (
                "this parenthesis was never opened".to_owned(),
                "Remove it, or open it with ( where the group starts".to_owned(),
            ),
            ']' | '}' => (
                format!("{c} ends a range that was never begun"),
                format!("Begin it with [ or {{, or write \\{c} for the character"),
            ),
            ',' => (", is supported in geo_distance only".to_owned(), escape),
            c => (format!("{c} is not supported in a word"), escape),
        };
        QueryError::new(self.at, reason, remedy)
    }
}

/// Whether a word has more wildcards than AWS takes in one term.
pub(crate) fn check_wildcards(word: &Word) -> Result<(), QueryError> {
    for (wildcard, name, most) in [
        (Glyph::Many, '*', MOST_STARS),
        (Glyph::One, '?', MOST_MARKS),
    ] {
        let count = word
            .glyphs
            .iter()
            .filter(|glyph| **glyph == wildcard)
            .count();
        if count > most {
            return Err(QueryError::new(
                word.at,
                format!("this term has {count} {name}, and AWS IoT takes {most} at most"),
                "Shorten the pattern, or split it into several terms",
            ));
        }
    }
    Ok(())
}
