//! Progress bars on standard error; they hide themselves when it is no
//! terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for `length` devices, with a verb before it.
pub(crate) fn bar(verb: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>10} {bar:32.green/dim} {pos:>4}/{len} {elapsed:>4} {msg:.dim}",
    )
    .map_or_else(
        |_| ProgressStyle::default_bar(),
        |style| style.progress_chars("━╸─"),
    );
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(verb);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
