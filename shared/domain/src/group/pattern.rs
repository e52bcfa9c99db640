//! Words with wildcards.
//!
//! A pattern is cut at its `*`: the first piece stands at the word's start, the
//! last one at its end, and those between are looked for from left to right,
//! where the first place found is as good as any. Looking for one is linear in
//! the word, so that no pattern and no word take long together.

use super::glyph::Glyph;
use super::value::fold;

/// A piece between two `*`: characters, and `None` for `?`.
type Piece = Vec<Option<char>>;

/// A pattern over one folded word; whole, not a part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Folded, as the words are.
    pub(crate) fn folded(glyphs: &[Glyph]) -> Self {
        Self::new(glyphs, fold)
    }

    /// As written, for names of fields.
    pub(crate) fn exact(glyphs: &[Glyph]) -> Self {
        Self::new(glyphs, |c| c)
    }

    fn new(glyphs: &[Glyph], each: impl Fn(char) -> char) -> Self {
        let pieces = glyphs
            .split(|glyph| *glyph == Glyph::Many)
            .map(|piece| {
                piece
                    .iter()
                    .map(|glyph| match glyph {
                        Glyph::Char(c) => Some(each(*c)),
                        Glyph::One | Glyph::Many => None,
                    })
                    .collect()
            })
            .collect();
        Self { pieces }
    }

    /// Whether it is nothing but `*`, which every word matches.
    pub(crate) fn is_any(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(Vec::is_empty)
    }

    /// The characters that every word that matches begins with.
    pub(crate) fn beginning(&self) -> String {
        let first = self.pieces.first().into_iter().flatten();
        first.map_while(|c| *c).collect()
    }

    /// The characters that every word that matches ends with.
    pub(crate) fn ending(&self) -> String {
        let last = self.pieces.last().into_iter().flatten().rev();
        let mut ending: Vec<char> = last.map_while(|c| *c).collect();
        ending.reverse();
        ending.into_iter().collect()
    }

    /// The longest run of characters that every word that matches has
    /// somewhere; empty if the pattern is all wildcards.
    pub(crate) fn longest_piece(&self) -> String {
        self.pieces
            .iter()
            .flat_map(|piece| piece.split(Option::is_none))
            .map(|run| run.iter().flatten().collect::<String>())
            .max_by_key(String::len)
            .unwrap_or_default()
    }

    /// Whether the word matches.
    pub(crate) fn matches(&self, word: &str) -> bool {
        let [first, rest @ ..] = self.pieces.as_slice() else {
            return word.is_empty();
        };
        let Some(after) = strip_start(word, first) else {
            return false;
        };
        let [between @ .., last] = rest else {
            return after.is_empty();
        };
        let Some(mut rest) = strip_end(after, last) else {
            return false;
        };
        for piece in between {
            match find(rest, piece) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }
}

fn strip_start<'a>(word: &'a str, piece: &Piece) -> Option<&'a str> {
    let mut chars = word.chars();
    for want in piece {
        let c = chars.next()?;
        if want.is_some_and(|want| want != c) {
            return None;
        }
    }
    Some(chars.as_str())
}

fn strip_end<'a>(word: &'a str, piece: &Piece) -> Option<&'a str> {
    let mut chars = word.chars();
    for want in piece.iter().rev() {
        let c = chars.next_back()?;
        if want.is_some_and(|want| want != c) {
            return None;
        }
    }
    Some(chars.as_str())
}

/// Where the first occurrence of the piece ends.
fn find(word: &str, piece: &Piece) -> Option<usize> {
    if let Some(literal) = piece.iter().copied().collect::<Option<String>>() {
        return word.find(&literal).map(|start| start + literal.len());
    }
    find_with_marks(word, piece)
}

/// The same for a piece with `?`, by the shift-and method: bit `i` says that
/// the piece's first `i + 1` characters end here. A piece has at most 1,000
/// characters, so that a character of the word costs 16 machine words.
fn find_with_marks(word: &str, piece: &Piece) -> Option<usize> {
    let length = piece.len();
    let fits = |c: char| {
        let mut bits = vec![0_u64; length.div_ceil(64)];
        for (at, want) in piece.iter().enumerate() {
            if want.is_none_or(|want| want == c) {
                bits[at / 64] |= 1 << (at % 64);
            }
        }
        bits
    };
    let mut table = std::collections::BTreeMap::new();
    let mut state = vec![0_u64; length.div_ceil(64)];
    let last = length - 1;
    for (at, c) in word.char_indices() {
        let fitting = table.entry(c).or_insert_with(|| fits(c));
        let mut carry = 1;
        for (bits, fitting) in state.iter_mut().zip(fitting.iter()) {
            let next = *bits >> 63;
            *bits = (*bits << 1 | carry) & fitting;
            carry = next;
        }
        if state[last / 64] >> (last % 64) & 1 == 1 {
            return Some(at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glyphs(text: &str) -> Vec<Glyph> {
        text.chars()
            .map(|c| match c {
                '*' => Glyph::Many,
                '?' => Glyph::One,
                c => Glyph::Char(c),
            })
            .collect()
    }

    /// The same by trying everything.
    fn plainly(pattern: &[Glyph], word: &[char]) -> bool {
        match (pattern, word) {
            ([], word) => word.is_empty(),
            ([Glyph::Many, rest @ ..], _) => {
                (0..=word.len()).any(|skipped| plainly(rest, &word[skipped..]))
            }
            ([Glyph::One, rest @ ..], [_, word @ ..]) => plainly(rest, word),
            ([Glyph::Char(want), rest @ ..], [c, word @ ..]) => want == c && plainly(rest, word),
            (_, []) => false,
        }
    }

    #[test]
    fn long_pieces_are_found_across_machine_words() {
        for length in [1, 62, 63, 64, 65, 127, 128, 129, 300] {
            let run = "ab".repeat(length);
            let pattern = Pattern::folded(&glyphs(&format!("*{run}?c*")));
            for (word, matches) in [
                (format!("b{run}xc"), true),
                (format!("ab{run}xcab"), true),
                (format!("{run}{run}xx"), false),
                (format!("{}xc", &run[1..]), false),
            ] {
                assert_eq!(pattern.matches(&word), matches, "{length}: {word}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn it_matches_what_trying_everything_matches(
            pattern in "[abé?*]{0,8}",
            word in "[abé]{0,10}",
        ) {
            let pattern = glyphs(&pattern);
            let chars: Vec<_> = word.chars().collect();
            let quick = Pattern::exact(&pattern);
            prop_assert_eq!(quick.matches(&word), plainly(&pattern, &chars));
            if quick.matches(&word) {
                prop_assert!(word.starts_with(&quick.beginning()));
                prop_assert!(word.ends_with(&quick.ending()));
                prop_assert!(word.contains(&quick.longest_piece()));
            }
        }
    }
}
