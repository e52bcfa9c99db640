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

/// Says on standard error what went wrong with which device, and gives the
/// exit code for all.
pub(crate) fn conclude(outcomes: &[Outcome]) -> Exit {
    for outcome in outcomes {
        if let Err(failure) = &outcome.result {
            output::note(&format!("{}: {}", outcome.name, failure.text()));
        }
    }
    outcomes
        .iter()
        .map(Outcome::exit)
        .fold(Exit::Done, Exit::and)
}
