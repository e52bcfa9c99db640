//! JSON text cut at its outermost level, without being read: what one element has
//! wrong, such as nesting that no reader follows, must not cost the others.

/// The elements of an array, or the members of an object, as they are written.
/// None: the text is neither, or goes on after it.
pub fn pieces(text: &str) -> Option<Vec<&str>> {
    let text = text.trim();
    let inside = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => text.strip_prefix('{')?.strip_suffix('}')?,
    };
    let (mut pieces, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    // What gives JSON its structure is ASCII, and no part of another character.
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                pieces.push(inside[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    if quoted || depth > 0 {
        return None;
    }
    let last = inside[from..].trim();
    if !last.is_empty() || !pieces.is_empty() {
        pieces.push(last);
    }
    Some(pieces)
}

/// An object's first member of a name, as it is written.
pub fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let members = text.trim_start().starts_with('{').then(|| pieces(text))??;
    members.into_iter().find_map(|member| {
        let rest = member.strip_prefix('"')?.strip_prefix(name)?;
        let value = rest.strip_prefix('"')?.trim_start().strip_prefix(':')?;
        Some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        assert_eq!(pieces(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn text_is_cut_at_its_outermost_level_only() {
        check("[]", Some(&[]));
        check(" { } ", Some(&[]));
        check(
            "[1, [2, 3], {\"a\": 4, \"b\": 5}]\n",
            Some(&["1", "[2, 3]", "{\"a\": 4, \"b\": 5}"]),
        );
        check(
            r#"["a,]b", "\",\\", "ä,"]"#,
            Some(&[r#""a,]b""#, r#""\",\\""#, r#""ä,""#]),
        );
        check("[nonsense, 1,]", Some(&["nonsense", "1", ""]));
        check("{\"a\": 1}\n{\"a\": 2}\n", None);
        check("[[1]", None);
        check("[\"a]", None);
        check("7", None);
        check("[", None);
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        check(&format!("[1, {deep}]"), Some(&["1", &deep]));
    }

    #[test]
    fn a_member_is_found_by_its_name() {
        for (text, value) in [
            (r#"{"id": "a:b", "ids": 2}"#, Some("\"a:b\"")),
            (r#"{"ids": 2, "a": {"id": 3}, "id" :[1] }"#, Some("[1]")),
            (r#"{"a": "\"id\": 1"}"#, None),
            (r#"["id"]"#, None),
            (r#"{"id": 1"#, None),
        ] {
            assert_eq!(member(text, "id"), value, "{text}");
        }
    }
}
