//! A small pattern language for parameters, in the manner of regular
//! expressions and always matched whole: literals, `.`, classes such as
//! `[a-z0-9._-]`, `\d`, `\.` and the like, each with `*`, `+`, `?`, `{n}`,
//! `{m,n}` or nothing after it. No groups, no alternatives; so there is nothing
//! that takes more than quadratic time.

use crate::failure::Failure;
use crate::quote::quoted;

const LONGEST: usize = 256;
const MOST_REPEATS: usize = 1024;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    class: Class,
    least: usize,
    most: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Class {
    Any,
    /// Ranges, ends included.
    Of(Vec<(char, char)>),
}

impl Class {
    fn has(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Of(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)),
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `Invalid` for `path`, with what is not understood.
    pub fn parse(path: &str, text: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| {
            Failure::invalid(
                path,
                format!("the pattern {} {why}", quoted(text)),
                "Use literals, ., [a-z0-9], \\d and \\ before a sign, each with *, +, ?, {n} or {m,n}.",
            )
        };
        if text.is_empty() || text.len() > LONGEST {
            return Err(refuse("is empty or too long"));
        }
        // A pattern is matched whole, whether it says so or not.
        let inner = text.strip_prefix('^').unwrap_or(text);
        let inner = inner.strip_suffix('$').unwrap_or(inner);
        let chars: Vec<char> = inner.chars().collect();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let class = class(&chars, &mut at).ok_or_else(|| refuse("is not understood"))?;
            let (least, most) = repeats(&chars, &mut at)
                .ok_or_else(|| refuse("repeats in a way not understood"))?;
            parts.push(Part { class, least, most });
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text is, from beginning to end, what the pattern says.
    pub fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        // Whether what has been matched so far may end before this character.
        let mut reached = vec![false; chars.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; chars.len() + 1];
            for from in (0..=chars.len()).filter(|from| reached[*from]) {
                let run = chars[from..].iter().take(part.most);
                let run = run.take_while(|c| part.class.has(**c)).count();
                for ended in &mut next[(from + part.least).min(from + run + 1)..=from + run] {
                    *ended = true;
                }
            }
            reached = next;
        }
        reached[chars.len()]
    }
}

fn class(chars: &[char], at: &mut usize) -> Option<Class> {
    let c = *chars.get(*at)?;
    *at += 1;
    match c {
        '.' => Some(Class::Any),
        '\\' => {
            let ranges = escaped(*chars.get(*at)?)?;
            *at += 1;
            Some(Class::Of(ranges))
        }
        '[' => {
            let end = *at + chars[*at..].iter().position(|c| *c == ']')?;
            let inside = &chars[*at..end];
            *at = end + 1;
            ranges(inside).map(Class::Of)
        }
        '(' | ')' | '|' | '*' | '+' | '?' | '{' | '}' | ']' | '^' | '$' => None,
        literal => Some(Class::Of(vec![(literal, literal)])),
    }
}

fn escaped(c: char) -> Option<Vec<(char, char)>> {
    match c {
        'd' => Some(vec![('0', '9')]),
        'w' => Some(vec![('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]),
        sign if sign.is_ascii_punctuation() => Some(vec![(sign, sign)]),
        _ => None,
    }
}

fn ranges(inside: &[char]) -> Option<Vec<(char, char)>> {
    if inside.is_empty() || inside[0] == '^' {
        return None;
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        if inside[at] == '\\' {
            ranges.extend(escaped(*inside.get(at + 1)?)?);
            at += 2;
        } else if let Some([from, '-', to]) = inside.get(at..at + 3) {
            (from <= to).then_some(())?;
            ranges.push((*from, *to));
            at += 3;
        } else {
            ranges.push((inside[at], inside[at]));
            at += 1;
        }
    }
    Some(ranges)
}

fn repeats(chars: &[char], at: &mut usize) -> Option<(usize, usize)> {
    let (least, most) = match chars.get(*at) {
        Some('*') => (0, usize::MAX),
        Some('+') => (1, usize::MAX),
        Some('?') => (0, 1),
        Some('{') => {
            let end = *at + chars[*at..].iter().position(|c| *c == '}')?;
            let inside: String = chars[*at + 1..end].iter().collect();
            let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
            let number = |text: &str| {
                let number = text.parse::<usize>().ok()?;
                (number <= MOST_REPEATS).then_some(number)
            };
            let most = if most.is_empty() {
                usize::MAX
            } else {
                number(most)?
            };
            *at = end;
            (number(least)?, most)
        }
        _ => return Some((1, 1)),
    };
    *at += 1;
    (least <= most).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::parse("pattern", pattern).unwrap();
        for text in yes {
            assert!(pattern.matches(text), "{pattern:?} {text:?}");
        }
        for text in no {
            assert!(!pattern.matches(text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn patterns_match_whole() {
        check(
            r"^\d+\.\d+\.\d+$",
            &["1.2.3", "10.0.12"],
            &["1.2", "1.2.3.4", "a1.2.3", "1.2.3\n", ""],
        );
        check("[a-f0-9]{4}", &["beef", "0a1b"], &["bee", "beeff", "BEEF"]);
        check("a*a?b{0,2}", &["", "a", "aaabb", "b"], &["bbb", "ba"]);
        check("[a-]x", &["ax", "-x"], &["bx"]);
        check(r"fw-[\w.-]{1,}", &["fw-a.b"], &["fw-", "fw-a/b"]);
        check("é.", &["éé"], &["é"]);
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "", "(a)", "a|b", "*", "a**", "[", "[]", "[^a]", "[z-a]", "a{2", "a{3,2}", "a{x}",
            "a{9999}", r"\", r"\q",
        ] {
            assert!(Pattern::parse("pattern", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_takes_long() {
        let pattern = Pattern::parse("pattern", &"a*".repeat(100)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(1024))));
    }
}
