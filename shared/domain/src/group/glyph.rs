//! Characters of an unquoted word: themselves, or wildcards.

/// One character of a word as the query has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Glyph {
    /// Itself.
    Char(char),
    /// `?`: any one character.
    One,
    /// `*`: any number of characters.
    Many,
}

/// The word's text, if it has no wildcards.
pub(crate) fn literal(glyphs: &[Glyph]) -> Option<String> {
    glyphs
        .iter()
        .map(|glyph| match glyph {
            Glyph::Char(c) => Some(*c),
            Glyph::One | Glyph::Many => None,
        })
        .collect()
}

pub(crate) fn from_text(text: &str) -> Vec<Glyph> {
    text.chars().map(Glyph::Char).collect()
}
