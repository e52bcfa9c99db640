//! `lamp job watch`: a job followed, with a bar for all and one for the wave.

use std::time::Duration;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar};
use serde_json::Value;

use super::{exit, show, shown};
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::progress;

const EVERY: Duration = Duration::from_secs(2);

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job's id
    id: String,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    follow(&arguments.id, api, format).await
}

/// Follows a job. As JSON, every change of it is a line.
pub(super) async fn follow(id: &str, api: &Api, format: Format) -> Result<Exit, Failure> {
    let bars = Bars::new();
    let mut last = Value::Null;
    loop {
        let job = api.send(Call::get(&["jobs", id])).await?.body;
        bars.show(&job);
        let ends = rests(&job);
        if format.is_json() && (ends || changed(&last, &job)) {
            bars.all.suspend(|| output::document(&job));
        }
        if ends {
            bars.clear();
            if !format.is_json() {
                shown(&job, format);
                next(&job);
            }
            return Ok(exit(&job));
        }
        last = job;
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether nothing happens until somebody does something.
fn rests(job: &Value) -> bool {
    let status = job["status"].as_str().unwrap_or_default();
    let waits = matches!(status, "PAUSED" | "AWAITING_APPROVAL") && job["wave"].is_null();
    waits || matches!(status, "DONE" | "STOPPED")
}

/// Time passes also where nothing changes.
fn changed(before: &Value, after: &Value) -> bool {
    [
        "status",
        "counts",
        "wave",
        "failures",
        "waitsUntil",
        "events",
    ]
    .iter()
    .any(|name| before[*name] != after[*name])
}

/// How to go on with a job that waits for its operator.
fn next(job: &Value) {
    let id = output::plain(&job["jobId"]);
    match job["status"].as_str().unwrap_or_default() {
        "PAUSED" => output::note(&format!("lamp job resume {id}, or lamp job cancel {id}")),
        "AWAITING_APPROVAL" => {
            let wave = job["nextWave"].as_u64().unwrap_or_default();
            output::note(&format!("lamp job approve {id} --wave {wave}"));
        }
        _ => {}
    }
}

/// How a job stands, beside its bar.
fn stands(job: &Value) -> String {
    let status = output::plain(&job["status"]);
    if let Some(until) = job["waitsUntil"].as_str() {
        return format!("{status}, waits until {until}");
    }
    let rate = job["settledPerMinute"].as_f64().unwrap_or_default();
    let left = job["secondsLeft"].as_u64().map(show::duration);
    let left = left.map(|left| format!(", {left} left"));
    format!("{status}, {rate} a minute{}", left.unwrap_or_default())
}

struct Bars {
    all: MultiProgress,
    job: ProgressBar,
    wave: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let job = all.add(progress::bar("devices", 0));
        let wave = all.add(progress::bar("wave", 0));
        Self { all, job, wave }
    }

    fn show(&self, job: &Value) {
        let counts = &job["counts"];
        fill(&self.job, counts, &counts["targets"]);
        self.job.set_message(stands(job));
        let wave = &job["wave"];
        self.wave.set_prefix(format!(
            "wave {}",
            wave["number"]
                .as_u64()
                .map_or_else(String::new, |n| n.to_string())
        ));
        fill(&self.wave, &wave["counts"], &wave["size"]);
        self.wave.set_message(show::counts(&wave["counts"]));
    }

    fn clear(&self) {
        self.job.finish_and_clear();
        self.wave.finish_and_clear();
    }
}

fn fill(bar: &ProgressBar, counts: &Value, size: &Value) {
    let open: u64 = ["waiting", "queued", "inProgress", "unconfirmed"]
        .iter()
        .filter_map(|name| counts[*name].as_u64())
        .sum();
    let size = size.as_u64().unwrap_or_default();
    bar.set_length(size);
    bar.set_position(size.saturating_sub(open));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_watch_ends_where_nothing_happens_by_itself() {
        for (job, ends) in [
            (json!({"status": "RUNNING"}), false),
            (json!({"status": "FOLLOWING"}), false),
            (json!({"status": "PAUSED", "wave": {"number": 1}}), false),
            (json!({"status": "PAUSED"}), true),
            (json!({"status": "AWAITING_APPROVAL"}), true),
            (json!({"status": "DONE"}), true),
        ] {
            assert_eq!(rests(&job), ends, "{job}");
        }
    }

    #[test]
    fn beside_the_bar() {
        let mut job = json!({"status": "RUNNING", "settledPerMinute": 2.5, "secondsLeft": 90});
        assert_eq!(stands(&job), "RUNNING, 2.5 a minute, 90 s left");
        job["waitsUntil"] = "2026-12-01T03:00:00Z".into();
        assert_eq!(stands(&job), "RUNNING, waits until 2026-12-01T03:00:00Z");
    }

    #[test]
    fn a_line_is_a_change() {
        let job = |seconds: u64, done: u64| json!({"status": "RUNNING", "secondsLeft": seconds, "counts": {"succeeded": done}});
        assert!(!changed(&job(9, 1), &job(8, 1)) && changed(&job(9, 1), &job(9, 2)));
    }
}
