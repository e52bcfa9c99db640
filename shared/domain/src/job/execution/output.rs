//! What handlers print: kept as far as it can be reported.

/// AWS: a status detail's value has at most this many characters.
const LONGEST_DETAIL: usize = 1024;
/// The last bytes that are kept of each stream.
const KEPT: usize = 4 * LONGEST_DETAIL;
/// What prints more than this, in bytes, is stopped.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a handler has printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    stdout: Tail,
    stderr: Tail,
    bytes: u64,
}

/// Whether a handler may print more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may.
    More,
    /// It printed too much, and is to be stopped.
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tail {
    kept: Vec<u8>,
    lines: u64,
    cut: bool,
    inside_line: bool,
}

impl Output {
    /// Takes what came from standard output.
    pub fn out(&mut self, bytes: &[u8]) -> Room {
        self.stdout.push(bytes);
        self.room(bytes)
    }

    /// Takes what came from standard error.
    pub fn err(&mut self, bytes: &[u8]) -> Room {
        self.stderr.push(bytes);
        self.room(bytes)
    }

    fn room(&mut self, bytes: &[u8]) -> Room {
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BYTES {
            Room::None
        } else {
            Room::More
        }
    }

    /// The end of standard output.
    pub(super) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// The end of standard error.
    pub(super) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// How many lines came on standard error, an unfinished one included.
    pub(super) fn stderr_lines(&self) -> u64 {
        self.stderr.lines + u64::from(self.stderr.inside_line)
    }
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.lines += bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
        if let Some(last) = bytes.last() {
            self.inside_line = *last != b'\n';
        }
        self.kept
            .extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        let over = self.kept.len().saturating_sub(KEPT);
        self.cut |= over > 0 || bytes.len() > KEPT;
        self.kept.drain(..over);
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let text = text.trim_end();
        if self.cut {
            format!("…{text}")
        } else {
            text.to_owned()
        }
    }
}

/// A text as a status detail can hold it: one line without control characters,
/// the end of it where it is too long (`UpdateJobExecution`, AWS IoT API
/// Reference); nothing where nothing would be left.
pub fn detail(text: &str) -> Option<String> {
    let mut line = String::new();
    for c in text.trim().chars() {
        match c {
            '\n' => line.push_str(" | "),
            c if invisible(c) => line.push(' '),
            c => line.push(c),
        }
    }
    let mut line = line.trim().to_owned();
    let count = line.chars().count();
    if count > LONGEST_DETAIL {
        let end: String = line.chars().skip(count - LONGEST_DETAIL + 1).collect();
        line = format!("…{end}");
    }
    (!line.is_empty()).then_some(line)
}

/// Control, format, private and unassigned-like characters: those that AWS's
/// pattern `[^\p{C}]` leaves out, and are likely in output.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..)
}
