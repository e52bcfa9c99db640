//! `lamp group watch`: who enters and leaves, as it happens.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{Attribute, Color};
use serde_json::Value;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The largest page asked for.
const PAGE: usize = 100;
/// By so many ids it is known what was told. What comes again is of the last
/// seconds.
const REMEMBERED: usize = 20_000;

/// Which group, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The group's name
    name: String,
    /// Stop after this many seconds, instead of on Ctrl-C
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Begin with what happened in the last so many minutes, a day's at most
    #[arg(long, value_name = "MINUTES")]
    since: Option<u64>,
    /// How often it is looked, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    every: u64,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let path = ["groups", arguments.name.as_str(), "changes"];
    let first = Call::get(&path).query("limit", &PAGE.to_string());
    let mut call = match arguments.since {
        None => first,
        Some(minutes) => {
            let since = crate::now().minus_millis(minutes * 60_000);
            first.query("since", &since.0.to_string())
        }
    };
    let mut told = Told::default();
    loop {
        let page = api.send(call.clone()).await?.body;
        for event in page["items"].as_array().into_iter().flatten() {
            if told.is_new(&event["detail"]["id"]) {
                show(event, format);
            }
        }
        let cursor = page["nextCursor"].as_str().unwrap_or_default();
        call = Call::get(&path)
            .query("limit", &PAGE.to_string())
            .query("cursor", cursor);
        if page["more"] == true {
            continue;
        }
        if arguments
            .seconds
            .is_some_and(|s| begun.elapsed() >= Duration::from_secs(s))
        {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(Duration::from_millis(arguments.every)).await;
    }
}

/// What was told already.
#[derive(Default)]
struct Told {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Told {
    fn is_new(&mut self, id: &Value) -> bool {
        let id = id.as_str().unwrap_or_default().to_owned();
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// One event a line: as the bus has it, or as a person reads it.
fn show(event: &Value, format: Format) {
    if format.is_json() {
        output::document(event);
        return;
    }
    let (what, colour) = if event["detail-type"] == "GroupEntered" {
        ("enters", Color::Green)
    } else {
        ("leaves", Color::Red)
    };
    output::line(&format!(
        "{}  {}  {}",
        output::plain(&event["time"]),
        output::styled(what, colour, Attribute::Reset),
        output::plain(&event["detail"]["thingName"]),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_comes_again_is_told_once() {
        let mut told = Told::default();
        let new: Vec<_> = ["a", "b", "a", "b", "c"]
            .iter()
            .map(|id| told.is_new(&json!(id)))
            .collect();
        assert_eq!(new, [true, true, false, false, true]);
        for n in 0..REMEMBERED {
            told.is_new(&json!(n.to_string()));
        }
        assert_eq!(
            (told.ids.len(), told.is_new(&json!("a"))),
            (REMEMBERED, true)
        );
    }
}
