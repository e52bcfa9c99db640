//! A caller's words, as a failure may repeat them.
//!
//! What goes into a reason goes into answers and logs, and a caller may have
//! put anything into a field by mistake, a private key included (invariant 4).

/// Texts up to this many characters are repeated whole.
const MOST_SHOWN: usize = 40;
/// Of longer ones, this many: too few for a line of a PEM's body.
const SHOWN_OF_LONGER: usize = 24;

/// The text in quotation marks, on one line, cut where it is long; of what
/// looks like PEM nothing.
pub fn quoted(text: &str) -> String {
    if text.contains("-----") || text.contains("PRIVATE KEY") {
        return "(a PEM text)".to_owned();
    }
    let mut after = text.chars().skip(MOST_SHOWN);
    if after.next().is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_OF_LONGER).collect();
    let length = text.chars().count();
    format!("{start:?}… ({length} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(quoted(text), shown);
    }

    #[test]
    fn short_texts_are_repeated_long_ones_cut_and_a_pem_is_not_shown() {
        check("a b", r#""a b""#);
        check("a\nb", r#""a\nb""#);
        check(&"ü".repeat(40), &format!("{:?}", "ü".repeat(40)));
        check(
            &"ü".repeat(41),
            &format!("{:?}… (41 characters)", "ü".repeat(24)),
        );
        check("-----BEGIN EC PRIVATE KEY-----\nMHc", "(a PEM text)");
        check("x PRIVATE KEY", "(a PEM text)");
    }
}
