//! One value of a document as it is searched: its words, and its number if it
//! is one.

use std::cmp::Ordering;

/// A finite number, in the order of numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(f64);

impl Number {
    /// Nothing for NaN and the infinities; minus zero is zero.
    pub(crate) fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number + 0.0))
    }

    /// The number that a text spells, if it is a JSON number literal (RFC
    /// 8259, section 6): `1e3` and `1.10` are, `007`, `+7` and `.5` are not.
    pub(crate) fn spelt(text: &str) -> Option<Self> {
        let digits = |text: &str| text.len() - text.trim_start_matches(digit).len();
        let rest = text.strip_prefix('-').unwrap_or(text);
        let mut rest = match (rest.strip_prefix('0'), digits(rest)) {
            (Some(rest), _) => rest,
            (None, 0) => return None,
            (None, some) => &rest[some..],
        };
        if let Some(fraction) = rest.strip_prefix('.') {
            let some = digits(fraction);
            if some == 0 {
                return None;
            }
            rest = &fraction[some..];
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let some = digits(exponent);
            if some == 0 {
                return None;
            }
            rest = &exponent[some..];
        }
        if rest.is_empty() {
            text.parse().ok().and_then(Self::new)
        } else {
            None
        }
    }

    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Without upper case: each character for itself and by one, as Lucene's
/// `LowerCaseFilter` does it, so that no length or accent changes.
pub(crate) fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

pub(crate) fn fold(c: char) -> char {
    if c.is_ascii() {
        c.to_ascii_lowercase()
    } else {
        c.to_lowercase().next().unwrap_or(c)
    }
}

/// White space as Java's `Character.isWhitespace` has it: none of the spaces
/// that forbid a line break.
pub(crate) fn is_space(c: char) -> bool {
    match c {
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{85}' => false,
        '\u{1c}'..='\u{1f}' => true,
        _ => c.is_whitespace(),
    }
}

/// The words of a text, folded.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(is_space)
        .filter(|word| !word.is_empty())
        .map(folded)
        .collect()
}

/// One value of a field: one element where the field is an array.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    text: String,
    words: Vec<String>,
    number: Option<Number>,
}

impl PartialEq for Value {
    /// The words follow from the text.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.number == other.number
    }
}

impl Eq for Value {}

impl Value {
    /// A text. A string attribute counts as a number if it spells one, since
    /// the registry has no other type; a string in a shadow never does.
    pub(crate) fn text(text: &str, may_spell_a_number: bool) -> Self {
        Self {
            words: words(text),
            number: may_spell_a_number.then(|| Number::spelt(text)).flatten(),
            text: text.to_owned(),
        }
    }

    /// What a JSON value is if it is a simple one: a string, a number, `true`
    /// or `false`.
    pub(crate) fn simple(value: &serde_json::Value, may_spell_a_number: bool) -> Option<Self> {
        match value {
            serde_json::Value::String(text) => Some(Self::text(text, may_spell_a_number)),
            serde_json::Value::Number(number) => Some(Self {
                number: number.as_f64().and_then(Number::new),
                ..Self::text(&number.to_string(), false)
            }),
            serde_json::Value::Bool(yes) => Some(Self::text(&yes.to_string(), false)),
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        }
    }

    /// As it was written.
    pub(crate) fn as_written(&self) -> &str {
        &self.text
    }

    /// Its words, folded.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Its number, if it is one.
    pub(crate) const fn number(&self) -> Option<Number> {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_literals_are_numbers() {
        for (text, number) in [
            ("75", Some(75.0)),
            ("-0", Some(0.0)),
            ("0.5", Some(0.5)),
            ("1.10", Some(1.1)),
            ("1e3", Some(1000.0)),
            ("1E-2", Some(0.01)),
            ("12.5e+1", Some(125.0)),
            ("", None),
            ("-", None),
            ("007", None),
            ("+7", None),
            (".5", None),
            ("5.", None),
            ("1e", None),
            ("1.10.0", None),
            ("0x10", None),
            (" 7", None),
            ("1e999", None),
            ("NaN", None),
            ("٣", None),
        ] {
            assert_eq!(Number::spelt(text).map(Number::get), number, "{text:?}");
        }
    }

    #[test]
    fn words_are_split_as_java_does_and_folded_by_character() {
        for (text, expected) in [
            ("New  York\u{2003}CITY", vec!["new", "york", "city"]),
            ("a\u{a0}b", vec!["a\u{a0}b"]),
            ("a\u{202f}b\u{2007}c", vec!["a\u{202f}b\u{2007}c"]),
            ("a\u{1f}b\u{b}c", vec!["a", "b", "c"]),
            ("МОСКВА ÉCOLE ΟΔΟΣ", vec!["москва", "école", "οδοσ"]),
            ("İ", vec!["i"]),
            (" \t\n", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
