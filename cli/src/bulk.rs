//! One thing done to many devices: several at a time, answered in the order
//! asked, with one exit code for all.

use futures_util::stream::{self, StreamExt};
use indicatif::ProgressBar;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// How much is done at a time, where the command line does not say.
pub(crate) const CONCURRENCY: usize = 8;

/// What became of one device.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) result: Result<(Exit, Value), Failure>,
}

impl Outcome {
    pub(crate) fn exit(&self) -> Exit {
        match &self.result {
            Ok((exit, _)) => *exit,
            Err(failure) => failure.exit,
        }
    }
}

/// Does `work` for each item. JSON lines are written as soon as all before
/// them are; the outcomes come back for a table.
pub(crate) async fn each<T, W>(
    items: Vec<(String, T)>,
    concurrency: usize,
    format: Format,
    bar: &ProgressBar,
    work: W,
) -> Vec<Outcome>
where
    W: AsyncFn(&str, T) -> Result<(Exit, Value), Failure>,
{
    let work = &work;
    let mut answers = stream::iter(items)
        .map(|(name, item)| async move {
            let result = work(&name, item).await;
            bar.set_message(name.clone());
            bar.inc(1);
            Outcome { name, result }
        })
        .buffered(concurrency.max(1));
    let mut outcomes = Vec::new();
    while let Some(outcome) = answers.next().await {
        if format.is_json() {
            bar.suspend(|| match &outcome.result {
                Ok((_, document)) => output::document(document),
                Err(failure) => output::document(&output::failure_document(
                    &[("thingName", &outcome.name)],
                    failure,
                )),
            });
        }
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    outcomes
}

/// Says on standard error what went wrong with which devices, and gives the
/// exit code for all.
pub(crate) fn conclude(outcomes: &[Outcome]) -> Exit {
    for (reason, names) in by_reason(outcomes) {
        let who = match names.as_slice() {
            [name] => (*name).to_owned(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => continue,
        };
        output::note(&format!("{who}: {reason}"));
    }
    outcomes
        .iter()
        .map(Outcome::exit)
        .fold(Exit::Done, Exit::and)
}

/// The heading of a column that says something else of what failed.
pub(crate) fn heading(outcomes: &[Outcome], done: &str, failed: &str) -> String {
    let any = |is_failed: bool| {
        outcomes
            .iter()
            .any(|outcome| outcome.result.is_err() == is_failed)
    };
    match (any(false), any(true)) {
        (_, false) => done.to_owned(),
        (false, true) => failed.to_owned(),
        (true, true) => format!("{done}, or {failed}"),
    }
}

/// Each reason once, with those it holds for, in the order of the first.
fn by_reason(outcomes: &[Outcome]) -> Vec<(String, Vec<&str>)> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for outcome in outcomes {
        let Err(failure) = &outcome.result else {
            continue;
        };
        let text = failure.text();
        match reasons.iter_mut().find(|(reason, _)| *reason == text) {
            Some((_, names)) => names.push(&outcome.name),
            None => reasons.push((text, vec![&outcome.name])),
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_tells_what_is_below_it() {
        let outcome = |failed: bool| Outcome {
            name: "a".to_owned(),
            result: if failed {
                Err(Failure::refused("groups", "x", ""))
            } else {
                Ok((Exit::Done, Value::Null))
            },
        };
        for (failed, wanted) in [
            (&[][..], "version"),
            (&[false], "version"),
            (&[true, true], "why not"),
            (&[false, true], "version, or why not"),
        ] {
            let outcomes: Vec<_> = failed.iter().copied().map(outcome).collect();
            assert_eq!(heading(&outcomes, "version", "why not"), wanted);
        }
    }

    #[test]
    fn what_failed_alike_is_said_once() {
        let refused = |name: &str, reason: &str| Outcome {
            name: name.to_owned(),
            result: Err(Failure::refused("groups", reason, "")),
        };
        let done = Outcome {
            name: "d".to_owned(),
            result: Ok((Exit::Done, Value::Null)),
        };
        let outcomes = [
            refused("a", "x"),
            done,
            refused("b", "y"),
            refused("c", "x"),
        ];
        let reasons = by_reason(&outcomes);
        assert_eq!(reasons.len(), 2);
        assert_eq!(reasons[0].1, ["a", "c"]);
        assert_eq!(reasons[1].1, ["b"]);
        assert_eq!(conclude(&outcomes), Exit::Refused);
    }
}
