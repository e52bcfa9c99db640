//! Which reasons of failures are one: what differs from device to device is left
//! out, and what tells one failure from another stays.

/// What comes before a number that says what happened.
const TELLING: [&str; 7] = ["status", "signal", "code", "errno", "error", "exit", "http"];
/// How many hexadecimal digits an id has at least.
const SHORTEST_ID: usize = 8;

/// The reason of a device with `#` for its name, for ids and for numbers, so that
/// "at byte 17" is one reason. An exit status, the step, and digits within a name
/// stay.
pub(super) fn alike(reason: &str, thing: &str) -> String {
    let (mut text, mut before) = (String::new(), String::new());
    let (step, rest) = reason.split_at(after_step(reason));
    text.push_str(step);
    for piece in rest.split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        let number = word
            .trim_end_matches('.')
            .bytes()
            .all(|b| b.is_ascii_digit());
        if number && TELLING.contains(&before.as_str()) {
            text.push_str(word);
        } else if word == thing {
            text.push('#');
        } else {
            text.push_str(&without_numbers(word));
        }
        text.push_str(&piece[word.len()..]);
        if !word.is_empty() {
            let first = word.split('/').next().unwrap_or_default();
            before = first.to_ascii_lowercase();
        }
    }
    if text.is_empty() {
        "no reason given".to_owned()
    } else {
        text
    }
}

/// How long "step 2 of 4, Install: " is, by which a reason may begin.
fn after_step(reason: &str) -> usize {
    let found = reason.starts_with("step ").then(|| reason.find(": "));
    found.flatten().map_or(0, |at| at + 2)
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "=:,;()\"'".contains(c)
}

/// A word as it is, unless it is a number, whatever its unit, or an id.
fn without_numbers(word: &str) -> String {
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let digits = hex.bytes().filter(u8::is_ascii_hexdigit).count();
    let only = hex.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let numbers = hex.bytes().any(|b| b.is_ascii_digit());
    let id = only && numbers && (digits >= SHORTEST_ID || hex.len() < word.len());
    if id {
        return "#".to_owned();
    }
    let signed = word.trim_start_matches(['+', '-']);
    if !signed.starts_with(|c: char| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut text = String::new();
    for c in word.chars() {
        match c {
            c if c.is_ascii_digit() && text.ends_with('#') => {}
            c if c.is_ascii_digit() => text.push('#'),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_of_a_reason() {
        for (reason, stays) in [
            ("", "no reason given"),
            ("flash error at 17", "flash error at #"),
            ("step 2 of 4, Install: exit status 66", ""),
            ("step 1 of 1, S1: ended by signal 9", ""),
            ("step S1: there is no handler noexec2.sh", ""),
            (
                "steps[0].action.input.handler: \"a1;\" is no handler's name",
                "",
            ),
            ("curl: (22) error: 404", "curl: (#) error: 404"),
            ("HTTP/1.1 503, after 12.5s", "HTTP/1.1 503, after #.#s"),
            (
                "exit status 3. byte=0x7f03 of -17",
                "exit status 3. byte=# of -#",
            ),
            ("error light-7 is not light-70", "error # is not light-70"),
            ("no room for 0b7d3f0a-91e2: 5, 3MB", "no room for #: #, #MB"),
            ("the facade is bad, deadbeef", ""),
        ] {
            let stays = if stays.is_empty() { reason } else { stays };
            assert_eq!(alike(reason, "light-7"), stays);
        }
    }
}
