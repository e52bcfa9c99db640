//! Versions in their own order (Semantic Versioning 2.0.0, section 11), an
//! extension of the query language: plain comparison gets firmware wrong,
//! since `1.10.0` sorts before `1.9.0`.

use std::cmp::Ordering;

/// A version. `1.10` is `1.10.0`, a leading `v` is none of it, and what
/// follows `+` says nothing about the order.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    before_release: Vec<String>,
}

impl Version {
    /// Nothing for what is no version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, before_release) = match text.split_once('-') {
            Some((numbers, rest)) => (numbers, rest.split('.').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        if before_release.iter().any(String::is_empty) {
            return None;
        }
        let mut numbers = numbers
            .split('.')
            .map(|part| {
                part.bytes()
                    .all(|b| b.is_ascii_digit())
                    .then(|| part.parse().ok())
                    .flatten()
            })
            .collect::<Option<Vec<u64>>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some(Self {
            numbers,
            before_release,
        })
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = |version: &Self| version.before_release.is_empty();
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| release(self).cmp(&release(other)))
            .then_with(|| {
                let mine = self.before_release.iter().map(|part| identifier(part));
                mine.cmp(other.before_release.iter().map(|part| identifier(part)))
            })
    }
}

/// Numeric identifiers by number, and before all others.
fn identifier(part: &str) -> (bool, usize, &str) {
    if part.bytes().all(|b| b.is_ascii_digit()) {
        let digits = part.trim_start_matches('0');
        (false, digits.len(), digits)
    } else {
        (true, 0, part)
    }
}

/// How a value has to stand to the one that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `:`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

impl Relation {
    /// As the query has it.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => ":",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }

    /// Whether it holds for what a comparison came out as.
    pub(crate) const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::AtLeast => order.is_ge(),
            Self::More => order.is_gt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_their_own_order() {
        let ascending = [
            "0.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-11",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "v1.10.0",
            "1.10.1",
            "2",
        ];
        for (at, low) in ascending.iter().enumerate() {
            for (other, high) in ascending.iter().enumerate() {
                let order = Version::parse(low)
                    .unwrap()
                    .cmp(&Version::parse(high).unwrap());
                assert_eq!(order, at.cmp(&other), "{low} {high}");
            }
        }
    }

    #[test]
    fn some_texts_are_the_same_version_and_some_are_none() {
        assert_eq!(Version::parse("1.10"), Version::parse("v1.10.0+build.7"));
        for text in [
            "",
            "v",
            "a",
            "1.a",
            "1..2",
            "1.2-",
            "-1",
            "1.2.3 ",
            "99999999999999999999",
        ] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }
}
