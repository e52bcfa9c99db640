//! A rollout as people see it: what `GET /jobs/{jobId}` answers.

mod alike;
mod counts;

use std::collections::BTreeMap;

use serde::Serialize;

use super::execution::{Class, Execution};
use super::spec::Spec;
use super::tally::Tally;
use super::wave::End;
use super::{Phase, Reason, Rollout, RolloutId};
use crate::failure::Failure;
use crate::listing::{decoded, once, read_limit};
use crate::names::ThingName;
use crate::time::Moment;
use alike::alike;

pub use counts::Counts;
pub(super) use counts::is_zero;

const MINUTE_MILLIS: u64 = 60_000;
/// How many reasons are told apart; the rest are counted together.
const MOST_REASONS: usize = 10;
/// How many devices are named for each.
const EXAMPLES: usize = 3;

/// How a rollout stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    job_id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    counts: Counts,
    percent_settled: u64,
    /// The wave that waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_wave: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<WaveView>,
    /// How many devices a minute have been settled.
    settled_per_minute: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
    /// Until when it waits for its start, for its window, or for the minute
    /// between two jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_until: Option<String>,
    failures: Vec<FailureGroup>,
    started_at: String,
    ends_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// How many events were too many for its trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_untold: Option<u32>,
}

/// The wave under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct WaveView {
    number: u32,
    size: u64,
    job_id: String,
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// Devices that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureGroup {
    status: Class,
    reason: String,
    count: u64,
    examples: Vec<ThingName>,
}

/// Groups failures, and those that had left, by their reason, the most frequent
/// first. Numbers and names that differ from device to device make no other reason.
pub fn failures<'a>(rows: impl Iterator<Item = &'a Execution>, spec: &Spec) -> Vec<FailureGroup> {
    let mut groups: BTreeMap<(Class, String), FailureGroup> = BTreeMap::new();
    for row in rows {
        let status = row.class(spec);
        if !status.told_of() {
            continue;
        }
        let said = row.report.as_ref().map_or("", |report| report.reason());
        let reason = match status {
            Class::Unconfirmed => "its shadow does not report the firmware".to_owned(),
            Class::Left => "it had left the targets before its turn".to_owned(),
            _ => alike(said, row.thing_name.as_str()),
        };
        let group = groups
            .entry((status, reason.clone()))
            .or_insert_with(|| FailureGroup {
                status,
                reason,
                count: 0,
                examples: Vec::new(),
            });
        group.count += 1;
        if group.examples.len() < EXAMPLES {
            group.examples.push(row.thing_name.clone());
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    if groups.len() > MOST_REASONS {
        let rest = groups.split_off(MOST_REASONS - 1);
        groups.push(FailureGroup {
            status: Class::Failed,
            reason: format!("{} other reasons", rest.len()),
            count: rest.iter().map(|group| group.count).sum(),
            examples: Vec::new(),
        });
    }
    groups
}

/// How many jobs a page of them has, and after which it begins, by a query
/// string.
///
/// # Errors
/// `Invalid`, with the parameter's name.
pub fn list_query(query: &str) -> Result<(Option<usize>, Option<String>), Failure> {
    let (mut limit, mut cursor) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        match name.as_str() {
            "limit" => once(&name, &mut limit, read_limit(&value)?)?,
            "cursor" => once(&name, &mut cursor, read_cursor(value)?)?,
            _ => {
                return Err(Failure::invalid(
                    &name,
                    format!("jobs cannot be listed by {name}"),
                    "Use limit and cursor.",
                ));
            }
        }
    }
    Ok((limit, cursor))
}

/// A moment and an id, as the list is ordered by them.
fn read_cursor(text: String) -> Result<String, Failure> {
    let parts = text.split_once('#');
    let good = parts.is_some_and(|(at, id)| {
        at.len() == 14 && at.bytes().all(|b| b.is_ascii_digit()) && RolloutId::parse(id).is_ok()
    });
    good.then_some(text).ok_or_else(|| {
        Failure::invalid(
            "cursor",
            "it is no cursor of this list",
            "Send the nextCursor of the page before, or none.",
        )
    })
}

impl RolloutView {
    /// The view. `totals` counts all waves, `tally` the one under way.
    pub fn new(
        rollout: &Rollout,
        totals: &Tally,
        tally: &Tally,
        failures: Vec<FailureGroup>,
        now: Moment,
    ) -> Self {
        let wave = rollout.wave.as_ref();
        let open_size = wave.map_or(0, |wave| wave.taken);
        let open = if wave.is_some() {
            *tally
        } else {
            Tally::default()
        };
        let mut counts = Counts::new(
            totals,
            rollout.taken.saturating_sub(totals.left),
            &open,
            open_size,
        );
        counts.targets = rollout.listed.max(rollout.targets);
        counts.waiting = counts.targets.saturating_sub(rollout.taken);
        let settled = totals.settled();
        let until = rollout.ended_at.unwrap_or(now);
        let elapsed = rollout.started_at.until(until).max(1);
        Self {
            job_id: rollout.rollout_id.as_str().to_owned(),
            status: rollout.status(),
            reason: rollout.reason(),
            percent_settled: ((settled + totals.left) * 100)
                .checked_div(counts.targets)
                .unwrap_or(if rollout.phase.ended() { 100 } else { 0 })
                .min(100),
            next_wave: rollout.awaits_approval().then_some(rollout.waves + 1),
            wave: wave.map(|wave| WaveView {
                number: wave.number,
                size: wave.taken,
                job_id: rollout.rollout_id.of_wave(wave.number),
                counts: Counts::new(tally, wave.taken, tally, wave.taken),
                started_at: wave.started_at.map(Moment::rfc3339),
                deadline: wave.started_at.map(|_| wave.deadline.rfc3339()),
                end: wave.end,
            }),
            settled_per_minute: per_minute(settled, elapsed),
            seconds_left: rollout.seconds_left(&counts, settled, now),
            waits_until: rollout.rests_until(now).map(Moment::rfc3339),
            counts,
            failures,
            started_at: rollout.started_at.rfc3339(),
            ends_at: rollout.ends_at.rfc3339(),
            ended_at: rollout.ended_at.map(Moment::rfc3339),
            events_untold: Some(rollout.trail.untold).filter(|untold| *untold > 0),
        }
    }
}

/// To one decimal.
fn per_minute(count: u64, millis: u64) -> f64 {
    let tenths = count * MINUTE_MILLIS * 10 / millis;
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

impl Rollout {
    /// How it stands, in a word.
    pub fn status(&self) -> &'static str {
        match self.phase {
            Phase::Done => "DONE",
            Phase::Stopped => "STOPPED",
            _ if self.wants_stop => "STOPPING",
            _ if self.paused.is_some() || self.wants_pause => "PAUSED",
            _ if self.awaits_approval() => "AWAITING_APPROVAL",
            Phase::Listing => "LISTING",
            Phase::Between if self.walked() => "FOLLOWING",
            _ => "RUNNING",
        }
    }

    /// Why it is paused or was stopped.
    pub fn reason(&self) -> Option<String> {
        let Some(reason) = self.stopped.as_ref().or(self.paused.as_ref()) else {
            let nobody = self.phase == Phase::Done && self.listed == 0;
            return nobody.then(|| "nobody was among its targets".to_owned());
        };
        Some(match reason {
            Reason::Operator => "an operator asked for it".to_owned(),
            Reason::Wave(wave, fault) => {
                use super::tally::Fault;
                let what = match fault {
                    Fault::TooManyFailed => "too many of its devices failed",
                    Fault::TooFewSucceeded => "too few of those that answered succeeded",
                    Fault::TooManyUnreached => "too many of its devices were not reached",
                    Fault::NobodyAnswered => "none of its devices answered",
                };
                format!("wave {wave} did not pass: {what}")
            }
            Reason::CanceledOutside(wave) => {
                format!("the job of wave {wave} was cancelled or deleted in AWS")
            }
            Reason::Refused(why) => format!("AWS refused a wave: {why}"),
            Reason::OutOfTime => "its time was over".to_owned(),
        })
    }

    /// When the next wave begins, if nothing but time is missing.
    fn rests_until(&self, now: Moment) -> Option<Moment> {
        let rests = match self.phase {
            Phase::Between => true,
            Phase::Starting => !self.job_meant(),
            _ => false,
        };
        let begins = self.fills_at(now).min(self.ends_at);
        (rests && begins > now && self.status() == "RUNNING").then_some(begins)
    }

    /// How long it will take at the pace that it has had, and never less than
    /// the rate allows. Nothing where nobody could say.
    fn seconds_left(&self, counts: &Counts, settled: u64, now: Moment) -> Option<u64> {
        if self.status() != "RUNNING" || settled == 0 {
            return None;
        }
        let left = counts.waiting + counts.queued + counts.in_progress;
        let at_pace = left * self.started_at.until(now) / settled;
        let at_rate = left * MINUTE_MILLIS / u64::from(self.spec.rate.per_minute.get());
        let millis = at_pace.max(at_rate).min(now.until(self.ends_at));
        Some(millis.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::execution::{Report, Status};
    use super::super::wave::{Made, Wave};
    use super::*;

    fn rollout() -> Rollout {
        let spec = Spec::read("", json!({"waves": [10], "perMinute": 60})).unwrap();
        let mut rollout = Rollout::start(RolloutId::from_key("a"), spec, Moment(0));
        (rollout.targets, rollout.listed, rollout.taken) = (100, 100, 30);
        rollout.phase = Phase::Running;
        let mut wave = Wave::new(3, 10, None);
        (wave.taken, wave.job, wave.started_at) = (10, Made::Yes, Some(Moment(0)));
        rollout.wave = Some(wave);
        rollout
    }

    fn view(rollout: &Rollout) -> Value {
        let open = Tally {
            in_progress: 2,
            succeeded: 3,
            ..Tally::default()
        };
        // Of the twenty before, one had left, and three never answered.
        let totals = Tally {
            in_progress: 2,
            succeeded: 17,
            failed: 2,
            canceled: 3,
            left: 1,
            ..Tally::default()
        };
        let view = RolloutView::new(rollout, &totals, &open, Vec::new(), Moment(600_000));
        serde_json::to_value(view).unwrap()
    }

    #[test]
    fn everybody_is_somewhere() {
        let seen = view(&rollout());
        let counts = seen["counts"].as_object().unwrap();
        let sum: u64 = counts
            .iter()
            .filter(|(name, _)| *name != "targets")
            .map(|(_, count)| count.as_u64().unwrap())
            .sum();
        assert_eq!(sum, 100, "{counts:?}");
        assert_eq!(
            (&counts["unreached"], &counts["queued"], &counts["left"]),
            (&json!(3), &json!(5), &json!(1))
        );
        assert_eq!(seen["status"], "RUNNING");
        assert_eq!(seen["wave"]["counts"]["succeeded"], 3);
        assert_eq!(seen["settledPerMinute"], 2.2);
        // 77 left, at 22 in ten minutes.
        assert_eq!(seen["secondsLeft"], 2100);
    }

    /// At noon, with a window of an hour at midnight; what is seen of it.
    fn check_waits(more: Value, to: fn(&mut Rollout), until: Option<Moment>) {
        let hour = 60 * MINUTE_MILLIS;
        let now = Moment(12 * hour);
        let mut sent = json!({"waves": [10]});
        sent.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let spec = Spec::read("", sent).unwrap();
        let start = Rollout::start(RolloutId::from_key("a"), spec, now);
        let mut rollout = start.listed(100, None, true, now);
        to(&mut rollout);
        let none = Tally::default();
        let seen = json!(RolloutView::new(&rollout, &none, &none, Vec::new(), now));
        let until = until.map_or(Value::Null, |until| json!(until.rfc3339()));
        assert_eq!(seen["waitsUntil"], until, "{more} {seen}");
    }

    #[test]
    fn a_rollout_that_waits_for_its_time_says_until_when() {
        let hour = 60 * MINUTE_MILLIS;
        let nothing = |_: &mut Rollout| {};
        let start = json!({"startAt": 20 * hour});
        let window = json!({"window": {"opensAtMinute": 0, "minutes": 60}});
        check_waits(json!({}), nothing, None);
        check_waits(start.clone(), nothing, Some(Moment(20 * hour)));
        check_waits(window.clone(), nothing, Some(Moment(24 * hour)));
        let rests = |row: &mut Rollout| row.not_before = Moment(12 * 3_600_000 + 60_000);
        check_waits(json!({}), rests, Some(Moment(12 * hour + MINUTE_MILLIS)));
        // A wave that has its devices, and no job yet.
        let starting = |row: &mut Rollout| {
            row.phase = Phase::Starting;
            row.wave = Some(Wave::new(1, 10, None));
        };
        check_waits(window.clone(), starting, Some(Moment(24 * hour)));
        let running = |row: &mut Rollout| row.phase = Phase::Running;
        check_waits(window, running, None);
        let paused = |row: &mut Rollout| row.paused = Some(Reason::Operator);
        check_waits(start, paused, None);
    }

    #[test]
    fn a_page_of_jobs() {
        let cursor = format!("00000000000001#{}", RolloutId::from_key("a").as_str());
        let query = format!("limit=5&cursor={}", cursor.replace('#', "%23"));
        assert_eq!(list_query(&query).unwrap(), (Some(5), Some(cursor)));
        assert_eq!(list_query("").unwrap(), (None, None));
        for (query, refused) in [
            ("limit=0", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=1%23job-x", "cursor"),
            ("status=DONE", "status"),
        ] {
            let failure = list_query(query).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some(refused), "{query}");
        }
    }

    #[test]
    fn a_rollout_that_rests_says_why() {
        let mut paused = rollout();
        paused.paused = Some(Reason::Wave(3, super::super::tally::Fault::TooManyFailed));
        let seen = view(&paused);
        assert_eq!(seen["status"], "PAUSED");
        assert_eq!(
            seen["reason"],
            "wave 3 did not pass: too many of its devices failed"
        );
        assert!(seen.get("secondsLeft").is_none());
        let mut done = rollout();
        (done.phase, done.wave) = (Phase::Done, None);
        assert_eq!(done.reason(), None);
        done.listed = 0;
        let nobody = "nobody was among its targets";
        assert_eq!(done.reason().as_deref(), Some(nobody));
    }

    #[test]
    fn failures_are_grouped_by_reason() {
        let rows: Vec<_> = (0..40)
            .map(|n| Execution {
                report: Some(match n {
                    0..20 => {
                        Report::new(Status::Failed, 1, Moment(n), &format!("flash error at {n}"))
                    }
                    20..25 => Report::new(Status::TimedOut, 1, Moment(n), ""),
                    25..28 => Report::new(Status::Succeeded, 1, Moment(n), ""),
                    _ => Report::new(
                        Status::Rejected,
                        1,
                        Moment(n),
                        &"x".repeat(usize::try_from(n).unwrap()),
                    ),
                }),
                left: (28..30).contains(&n),
                ..Execution::new(&ThingName::parse(&format!("light-{n}")).unwrap(), 1, 1)
            })
            .collect();
        let spec = rollout().spec;
        let groups = failures(rows.iter(), &spec);
        let told: Vec<_> = groups
            .iter()
            .map(|g| (g.reason.as_str(), g.count, g.examples.len()))
            .collect();
        assert_eq!(told[0], ("flash error at #", 20, 3));
        assert_eq!(told[1], ("no reason given", 5, 3));
        let left = "it had left the targets before its turn";
        assert!(told.contains(&(left, 2, 2)), "{told:?}");
        assert_eq!((told.len(), told[9]), (10, ("4 other reasons", 4, 0)));
        assert_eq!(groups.iter().map(|g| g.count).sum::<u64>(), 37);
    }
}
