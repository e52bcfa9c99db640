//! What is shown of running devices: lines as they come, a progress line, and
//! at the end how each has done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lamplighter_domain::names::ThingName;
use serde_json::{Value, json};

use crate::output::{self, Format};
use crate::reference::{Line, Vitals};

/// How often the progress line changes.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many devices the table at the end shows: those with the longest gaps.
const SHOWN: usize = 20;

/// Watches devices.
pub(super) struct Board {
    format: Format,
    /// Whether a person reads what every device says.
    alone: bool,
    bar: ProgressBar,
    devices: Vec<(ThingName, Arc<Mutex<Vitals>>)>,
    /// Until when silence counts as a gap.
    ended: Option<Instant>,
}

/// How many devices do what, and the longest gap of any.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    connected: usize,
    rotating: usize,
    rotated: u64,
    rejected: u64,
    longest: Duration,
}

impl Board {
    pub(super) fn new(format: Format, devices: usize) -> Self {
        let alone = devices == 1;
        let target = if alone {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self {
            format,
            alone,
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
            devices: Vec::with_capacity(devices),
            ended: None,
        }
    }

    /// The devices are told to stop; from here silence is no gap.
    pub(super) fn end(&mut self) {
        self.ended = Some(Instant::now());
    }

    pub(super) fn watch(&mut self, thing: ThingName, vitals: Arc<Mutex<Vitals>>) {
        self.devices.push((thing, vitals));
    }

    /// Shows a line: all to a program; of many devices, only trouble to a
    /// person.
    pub(super) fn line(&self, line: &Line) {
        self.bar.suspend(|| {
            if self.format.is_json() {
                output::document(&line.document());
            } else if self.alone {
                output::line(&line.text());
            } else if line.is_trouble() {
                output::note(&line.text());
            }
        });
    }

    /// Brings the progress line up to date.
    pub(super) fn look(&self) {
        let now = Instant::now();
        let sums = sums(self.devices.iter().map(|(_, vitals)| seen(vitals)), now);
        self.bar.set_message(progress(&sums, self.devices.len()));
        self.bar.tick();
    }

    /// Shows how each device has done, the longest silent first.
    pub(super) fn conclude(self) {
        self.bar.finish_and_clear();
        let now = self.ended.unwrap_or_else(Instant::now);
        let mut all: Vec<_> = self
            .devices
            .iter()
            .map(|(thing, vitals)| (thing, seen(vitals)))
            .collect();
        all.sort_by_key(|(_, vitals)| std::cmp::Reverse(vitals.gaps.until(now)));
        if self.format.is_json() {
            for (thing, vitals) in all {
                output::document(&document(thing, vitals, now));
            }
            return;
        }
        let mut table = output::table(&[
            "device",
            "connections",
            "rotated",
            "rejected",
            "acknowledged",
            "longest gap",
        ]);
        for (thing, vitals) in all.iter().take(SHOWN) {
            table.add_row([
                thing.to_string(),
                vitals.connections.to_string(),
                vitals.rotated.to_string(),
                vitals.rejected.to_string(),
                vitals.gaps.acknowledged.to_string(),
                format!("{:.1} s", vitals.gaps.until(now).as_secs_f64()),
            ]);
        }
        output::line(&table.to_string());
        if !self.alone {
            let sums = sums(all.iter().map(|(_, vitals)| *vitals), now);
            let came = all.iter().filter(|(_, seen)| seen.connections > 0).count();
            output::note(&concluded(&sums, came, all.len()));
        }
    }
}

fn seen(vitals: &Mutex<Vitals>) -> Vitals {
    *vitals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sums(all: impl Iterator<Item = Vitals>, now: Instant) -> Sums {
    all.fold(Sums::default(), |sums, vitals| Sums {
        connected: sums.connected + usize::from(vitals.connected),
        rotating: sums.rotating + usize::from(vitals.rotating),
        rotated: sums.rotated + u64::from(vitals.rotated),
        rejected: sums.rejected + u64::from(vitals.rejected),
        longest: sums.longest.max(vitals.gaps.until(now)),
    })
}

fn progress(sums: &Sums, devices: usize) -> String {
    format!(
        "{} of {devices} connected, {} rotating, {} rotated, {} rejected, longest gap {:.1} s",
        sums.connected,
        sums.rotating,
        sums.rotated,
        sums.rejected,
        sums.longest.as_secs_f64()
    )
}

/// The same once all have been switched off.
fn concluded(sums: &Sums, came: usize, devices: usize) -> String {
    format!(
        "{came} of {devices} have connected, {} rotated, {} rejected, longest gap {:.1} s",
        sums.rotated,
        sums.rejected,
        sums.longest.as_secs_f64()
    )
}

fn document(thing: &ThingName, vitals: Vitals, now: Instant) -> Value {
    let longest = vitals.gaps.until(now).as_millis();
    json!({
        "event": "stopped",
        "thingName": thing,
        "connections": vitals.connections,
        "rotated": vitals.rotated,
        "rejected": vitals.rejected,
        "acknowledged": vitals.gaps.acknowledged,
        "longestGapMillis": u64::try_from(longest).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_summed_up_in_a_line() {
        let start = Instant::now();
        let mut silent = Vitals {
            connected: true,
            rotated: 2,
            ..Vitals::default()
        };
        silent.gaps.acknowledge(start);
        let busy = Vitals {
            rotating: true,
            rejected: 1,
            ..Vitals::default()
        };
        let now = start + Duration::from_millis(2500);
        let sums = sums([silent, busy].into_iter(), now);
        assert_eq!(
            progress(&sums, 2),
            "1 of 2 connected, 1 rotating, 2 rotated, 1 rejected, longest gap 2.5 s"
        );
        let thing = ThingName::parse("a").unwrap();
        let document = document(&thing, silent, now);
        assert_eq!(document["longestGapMillis"], 2500);
        assert_eq!(document["acknowledged"], 1);
    }
}
