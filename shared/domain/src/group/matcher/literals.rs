//! Literal beginnings, ordered: which of them a text begins with.

use std::collections::BTreeMap;

use super::Id;

/// From so many texts on, a set of their first bytes is kept.
const WORTH_A_SET: usize = 16;

/// Texts, each with what hangs on it.
#[derive(Debug, Default)]
pub(super) struct Literals {
    /// In order.
    texts: Vec<(String, Vec<Id>)>,
    /// For each text the longest other one that it begins with.
    parents: Vec<Option<u32>>,
    /// The first bytes that there are, by two, as a set of bits: most places
    /// of most texts are passed over by it. Empty where there are few texts,
    /// for it takes 8 KiB.
    starts: Vec<u64>,
}

impl Literals {
    pub(super) fn of(texts: BTreeMap<String, Vec<Id>>) -> Self {
        let texts: Vec<_> = texts.into_iter().collect();
        let mut parents = Vec::with_capacity(texts.len());
        let mut starts = Vec::new();
        if texts.len() >= WORTH_A_SET {
            starts.resize(1 << 10, 0);
        }
        let mut open: Vec<u32> = Vec::new();
        for (at, (text, _)) in texts.iter().enumerate() {
            while open
                .last()
                .is_some_and(|last| !text.starts_with(&texts[*last as usize].0))
            {
                open.pop();
            }
            parents.push(open.last().copied());
            open.push(super::id(at));
            match text.as_bytes() {
                _ if starts.is_empty() => {}
                [] => {}
                // Whatever follows.
                [one] => {
                    let from = usize::from(*one) * 4;
                    starts[from..from + 4].fill(u64::MAX);
                }
                [one, two, ..] => {
                    let (word, bit) = place(*one, *two);
                    starts[word] |= 1 << bit;
                }
            }
        }
        Self {
            texts,
            parents,
            starts,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// What hangs on every text that this one begins with.
    pub(super) fn that_begin(&self, text: &str, visit: &mut impl FnMut(Id)) {
        let maybe = match text.as_bytes() {
            [] => false,
            _ if self.starts.is_empty() => true,
            [one] => self.starts[usize::from(*one) * 4] == u64::MAX,
            [one, two, ..] => {
                let (word, bit) = place(*one, *two);
                self.starts[word] >> bit & 1 == 1
            }
        };
        if !maybe {
            return;
        }
        // The last one up to the text begins with every other that the text
        // begins with.
        let after = self
            .texts
            .partition_point(|(known, _)| known.as_str() <= text);
        let mut next = after.checked_sub(1).map(super::id);
        while let Some(at) = next {
            let (known, ids) = &self.texts[at as usize];
            if text.starts_with(known) {
                for id in ids {
                    visit(*id);
                }
            }
            next = self.parents[at as usize];
        }
    }
}

const fn place(one: u8, two: u8) -> (usize, u8) {
    (one as usize * 4 + two as usize / 64, two % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str]) {
        let literals = Literals::of(
            texts
                .iter()
                .enumerate()
                .map(|(at, text)| ((*text).to_owned(), vec![super::super::id(at)]))
                .collect(),
        );
        for text in [
            "", "a", "ab", "abx", "abcd", "abd", "abe", "b", "bzz", "é", "éab", "z", "zzz", "c",
        ] {
            let mut found = Vec::new();
            literals.that_begin(text, &mut |id| found.push(texts[id as usize]));
            found.sort_unstable();
            let expected: Vec<_> = texts
                .iter()
                .copied()
                .filter(|known| text.starts_with(known))
                .collect();
            assert_eq!(found, expected, "{text} of {texts:?}");
        }
    }

    #[test]
    fn every_beginning_is_found() {
        check(&[]);
        check(&["a", "ab", "abc", "abd", "b", "é", "éa", "zz"]);
        check(&[
            "a", "ab", "abc", "abd", "b", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "zz",
            "é", "éa",
        ]);
        check(&[
            "ab", "abc", "abd", "bz", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9",
            "zz", "éa",
        ]);
    }
}
