//! Why a job failed, as whoever looks at it reads it: with the handler's own
//! last word.

use lamplighter_domain::job::execution::{Progress, detail};

/// How much of that is told; the rest is in the detail `stderr`.
const MOST: usize = 200;

/// An ended execution whose reason has the last line of standard error, too.
pub(super) fn told(mut progress: Progress) -> Progress {
    let Some(end) = &mut progress.end else {
        return progress;
    };
    let details = &mut end.status_details;
    // A detail has its line breaks as bars.
    let lines = details.get("stderr").into_iter();
    let mut lines = lines.flat_map(|text| text.rsplit(" | "));
    let last = lines.find(|line| !line.trim().is_empty());
    let last = last.map(|line| line.trim().chars().take(MOST).collect::<String>());
    if let (Some(last), Some(reason)) = (last, details.get_mut("reason"))
        && let Some(told) = detail(&format!("{reason}: {last}"))
    {
        *reason = told;
    }
    progress
}
