//! What a rollout is to do, as its operator says it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{
    Factor, InProgressMinutes, MOST_DIRECT, PerMinute, Percent, Retries, UrlSeconds,
};
use crate::failure::Failure;
use crate::job::read::{Object, wrong};
use crate::names::ThingTypeName;
use crate::time::{DAY_MILLIS, Moment};

const MINUTE_MILLIS: u64 = 60_000;
/// AWS: a job's end is at most two years away (`SchedulingConfig`).
const MOST_MINUTES: u64 = 2 * 365 * 24 * 60;
/// AWS: an execution of a workflow lives a year at most ("Step Functions service
/// quotas"), and nobody plans a job further ahead.
const MOST_DAYS_AHEAD: u64 = 365;
const MOST_WAVES: usize = 100;
const MOST_TARGETS: u64 = 1_000_000;

/// What a rollout is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// How large the waves are. The first is the canary; the last is repeated
    /// until nobody is left.
    pub waves: Vec<Size>,
    /// With more than this share of a wave failed, it is broken off.
    pub most_failed: Percent,
    /// At least this share of those that answered must have succeeded.
    pub least_succeeded: Percent,
    /// At most this share of a wave may be unreached at its deadline.
    pub most_unreached: Percent,
    /// What follows when one of these is broken.
    pub on_failure: OnFailure,
    /// Whether somebody has to approve each wave after the first.
    pub approval: bool,
    /// How long a wave has, from its job's creation, in minutes. A dead light
    /// never starts AWS's own timer.
    pub deadline_minutes: u64,
    /// How long the whole may take, in minutes.
    pub duration_minutes: u64,
    /// How fast devices are told.
    pub rate: Rate,
    /// AWS's timer for an execution that has begun.
    pub in_progress_minutes: InProgressMinutes,
    /// How often AWS repeats what failed or timed out.
    pub retries: Retries,
    /// How long a presigned URL is valid.
    pub url_seconds: UrlSeconds,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Moment>,
    /// When waves may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How fast those are told that come later; they get nothing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_joiners: Option<PerMinute>,
    /// The only type of thing that may get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// The firmware that a shadow has to report before its device counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirms: Option<String>,
}

/// How large a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Size {
    /// So many devices.
    Count(u64),
    /// This share of all that were there at the start.
    Percent(Percent),
}

/// What follows a wave that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// Somebody decides.
    #[default]
    Pause,
    /// The end.
    Stop,
}

/// How fast AWS tells the devices of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// At most so many a minute.
    pub per_minute: PerMinute,
    /// How it begins, where it does not begin at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growing: Option<Growing>,
}

/// An exponential rollout rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Growing {
    /// So many a minute at first.
    pub from: PerMinute,
    /// By how much it grows, in tenths.
    pub factor: Factor,
    /// After so many have been told.
    pub after_notified: u64,
}

/// A time of each day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The minute of the day at which it opens.
    pub opens_at: u64,
    /// How many minutes it stays open.
    pub minutes: u64,
}

impl Window {
    /// The first moment, from this one on, at which it is open.
    pub fn next_open(self, now: Moment) -> Moment {
        let into_day = now.0 % DAY_MILLIS;
        let opens = self.opens_at * MINUTE_MILLIS;
        // It may have been open since yesterday.
        let since = (into_day + DAY_MILLIS - opens) % DAY_MILLIS;
        if since < self.minutes * MINUTE_MILLIS {
            now
        } else {
            now.plus_millis(DAY_MILLIS - since)
        }
    }
}

impl Spec {
    /// Reads what an operator sends, the field `rollout` of a job's request.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub fn read(path: &str, value: Value) -> Result<Self, Failure> {
        let mut object = Object::new(path, value)?;
        let read = &mut object;
        let spec = Self {
            waves: waves(read)?,
            most_failed: percent(read, "mostFailedPercent", 5)?,
            least_succeeded: percent(read, "leastSucceededPercent", 90)?,
            most_unreached: percent(read, "mostUnreachedPercent", 100)?,
            on_failure: on_failure(read)?,
            approval: flag(read, "approval")?,
            deadline_minutes: number(read, "deadlineMinutes", 24 * 60, 1..=MOST_MINUTES)?,
            duration_minutes: number(read, "durationMinutes", 7 * 24 * 60, 1..=MOST_MINUTES)?,
            rate: rate(read)?,
            in_progress_minutes: bounded(read, "inProgressMinutes", 60, InProgressMinutes::new)?,
            retries: bounded(read, "retries", 0, Retries::new)?,
            url_seconds: bounded(read, "urlSeconds", 3600, UrlSeconds::new)?,
            start_at: moment(read, "startAt")?,
            window: window(read)?,
            late_joiners: optional(read, "lateJoinersPerMinute", PerMinute::new)?,
            // Both follow from the job's template.
            thing_type: None,
            confirms: None,
        };
        object.end()?;
        if spec.deadline_minutes > spec.duration_minutes {
            return Err(Failure::invalid(
                &if path.is_empty() {
                    "deadlineMinutes".to_owned()
                } else {
                    format!("{path}.deadlineMinutes")
                },
                "a wave may take longer than the whole",
                "Give a shorter deadlineMinutes, or a longer durationMinutes.",
            ));
        }
        Ok(spec)
    }

    /// Refuses a start that is too far away.
    ///
    /// # Errors
    /// `Invalid` for `rollout.startAt`.
    pub fn check_start(&self, now: Moment) -> Result<(), Failure> {
        let latest = now.plus_millis(MOST_DAYS_AHEAD * DAY_MILLIS);
        if self.start_at.is_none_or(|at| at <= latest) {
            return Ok(());
        }
        Err(Failure::invalid(
            "rollout.startAt",
            "it is more than a year ahead",
            format!("Give milliseconds since 1970, {} at most.", latest.0),
        ))
    }

    /// Whether it begins later than at this moment.
    pub fn starts_after(&self, now: Moment) -> bool {
        self.start_at.is_some_and(|at| now < at)
    }

    /// How many devices the wave of this index has, of so many targets.
    pub fn wave_size(&self, index: usize, targets: u64) -> u64 {
        match self.waves.get(index).or(self.waves.last()) {
            Some(Size::Count(count)) => *count,
            Some(Size::Percent(percent)) => percent.of(targets).max(1),
            None => MOST_DIRECT,
        }
    }

    /// Whether a thing of this type may get it.
    pub fn admits(&self, thing_type: Option<&ThingTypeName>) -> bool {
        self.thing_type.is_none() || self.thing_type.as_ref() == thing_type
    }

    /// From its job's creation to a wave's deadline.
    pub(super) fn deadline_millis(&self) -> u64 {
        self.deadline_minutes * MINUTE_MILLIS
    }

    /// From a rollout's start to its end.
    pub(super) fn duration_millis(&self) -> u64 {
        self.duration_minutes * MINUTE_MILLIS
    }

    /// The first moment, from this one on, at which a wave may begin.
    pub(super) fn may_begin(&self, now: Moment) -> Moment {
        let now = now.max(self.start_at.unwrap_or_default());
        self.window.map_or(now, |window| window.next_open(now))
    }
}

fn number(
    object: &mut Object,
    name: &str,
    usual: u64,
    within: std::ops::RangeInclusive<u64>,
) -> Result<u64, Failure> {
    let path = object.at(name);
    let Some(value) = object.take(name) else {
        return Ok(usual);
    };
    let number = value
        .as_u64()
        .ok_or_else(|| wrong(&path, &value, "a whole number"))?;
    if within.contains(&number) {
        return Ok(number);
    }
    Err(Failure::invalid(
        &path,
        format!("{number} is out of bounds"),
        format!("Give a number from {} to {}.", within.start(), within.end()),
    ))
}

fn bounded<T>(
    object: &mut Object,
    name: &str,
    usual: u64,
    new: fn(&str, u64) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let path = object.at(name);
    let number = number(object, name, usual, 0..=u64::MAX)?;
    new(&path, number)
}

fn optional<T>(
    object: &mut Object,
    name: &str,
    new: fn(&str, u64) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let path = object.at(name);
    let value = object.take(name);
    let read = |value: Value| {
        let number = value
            .as_u64()
            .ok_or_else(|| wrong(&path, &value, "a whole number"))?;
        new(&path, number)
    };
    value.map(read).transpose()
}

fn percent(object: &mut Object, name: &str, usual: u64) -> Result<Percent, Failure> {
    bounded(object, name, usual, Percent::new)
}

fn flag(object: &mut Object, name: &str) -> Result<bool, Failure> {
    match object.take(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(wrong(&object.at(name), &other, "true or false")),
    }
}

fn moment(object: &mut Object, name: &str) -> Result<Option<Moment>, Failure> {
    let path = object.at(name);
    let value = object.take(name);
    let read = |value: Value| {
        let millis = value.as_u64();
        millis
            .map(Moment)
            .ok_or_else(|| wrong(&path, &value, "milliseconds since 1970"))
    };
    value.map(read).transpose()
}

fn on_failure(object: &mut Object) -> Result<OnFailure, Failure> {
    match object.text("onFailure")?.as_deref() {
        None | Some("pause") => Ok(OnFailure::Pause),
        Some("stop") => Ok(OnFailure::Stop),
        Some(_) => Err(Failure::invalid(
            &object.at("onFailure"),
            "it is neither pause nor stop",
            "Write pause or stop.",
        )),
    }
}

fn waves(object: &mut Object) -> Result<Vec<Size>, Failure> {
    let path = object.at("waves");
    let waves = object.list("waves")?.unwrap_or_default();
    if waves.is_empty() || waves.len() > MOST_WAVES {
        return Err(Failure::invalid(
            &path,
            format!("there are {} waves", waves.len()),
            format!(
                "List 1 to {MOST_WAVES} sizes, such as 5 or \"10%\"; the last one is repeated."
            ),
        ));
    }
    let read = |(i, value)| size(&format!("{path}[{i}]"), &value);
    waves.into_iter().enumerate().map(read).collect()
}

fn size(path: &str, value: &Value) -> Result<Size, Failure> {
    let share = value.as_str().and_then(|text| text.strip_suffix('%'));
    if let Some(share) = share.and_then(|share| share.parse().ok()) {
        let percent = Percent::new(path, share)?;
        if percent > Percent::LEAST {
            return Ok(Size::Percent(percent));
        }
    }
    match value.as_u64() {
        Some(count @ 1..=MOST_TARGETS) => Ok(Size::Count(count)),
        _ => Err(Failure::invalid(
            path,
            format!("{value} is no size of a wave"),
            format!("Give a number up to {MOST_TARGETS}, or a share such as \"10%\"."),
        )),
    }
}

fn rate(object: &mut Object) -> Result<Rate, Failure> {
    let per_minute = bounded(object, "perMinute", 1000, PerMinute::new)?;
    let path = object.at("growing");
    let growing = object.take("growing");
    let read = |value: Value| {
        let mut object = Object::new(&path, value)?;
        let growing = Growing {
            from: bounded(&mut object, "from", 1, PerMinute::new)?,
            factor: bounded(&mut object, "factorTenths", 20, Factor::new)?,
            after_notified: number(&mut object, "afterNotified", 100, 1..=MOST_TARGETS)?,
        };
        object.end()?;
        if growing.from > per_minute {
            return Err(Failure::invalid(
                &format!("{path}.from"),
                "it begins faster than perMinute",
                "Give a smaller number.",
            ));
        }
        Ok(growing)
    };
    let growing = growing.map(read).transpose()?;
    Ok(Rate {
        per_minute,
        growing,
    })
}

fn window(object: &mut Object) -> Result<Option<Window>, Failure> {
    let path = object.at("window");
    let window = object.take("window");
    let read = |value: Value| {
        let mut object = Object::new(&path, value)?;
        let window = Window {
            opens_at: number(&mut object, "opensAtMinute", 0, 0..=1439)?,
            minutes: number(&mut object, "minutes", 60, 1..=1440)?,
        };
        object.end()?;
        Ok(window)
    };
    window.map(read).transpose()
}
