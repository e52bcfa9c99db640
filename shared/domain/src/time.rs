//! Time as a value: the shell reads the clock, the domain only compares.

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment this many milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The moment this many milliseconds earlier.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// Milliseconds from `self` until `later`, or 0 if that has passed.
    pub const fn until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }

    /// Whole seconds since 1970, as DynamoDB's time to live counts them.
    pub const fn epoch_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment as people read it, to the second (RFC 3339).
    pub fn rfc3339(self) -> String {
        let second = self.epoch_seconds() % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{}T{hour:02}:{minute:02}:{second:02}Z", Day::of(self))
    }

    /// The same to the millisecond, as Step Functions waits for it.
    pub fn rfc3339_millis(self) -> String {
        let text = self.rfc3339();
        format!("{}.{:03}Z", text.trim_end_matches('Z'), self.0 % 1000)
    }
}

/// A day of UTC, counted from 1970-01-01; written `yyyy-mm-dd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

/// A day's length, in milliseconds.
pub const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Days from 0000-03-01 to 1970-01-01, and in 400 years.
const TO_1970: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;

impl Day {
    /// The day of a moment.
    pub const fn of(moment: Moment) -> Self {
        Self(moment.0 / DAY_MILLIS)
    }

    /// The day's first moment.
    pub const fn start(self) -> Moment {
        Moment(self.0 * DAY_MILLIS)
    }

    /// The next day's first moment.
    pub const fn end(self) -> Moment {
        self.plus(1).start()
    }

    /// The day this many days later.
    #[must_use]
    pub const fn plus(self, days: u64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The day this many days earlier, and not before 1970.
    #[must_use]
    pub const fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Reads `yyyy-mm-dd`, from 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| -> Option<u64> {
            let part = parts.next()?;
            (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
                .then(|| part.parse().ok())?
        };
        let (year, month, date) = (number(4)?, number(2)?, number(2)?);
        if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || date == 0 {
            return None;
        }
        let day = Self::from_civil(year, month, date);
        // A date past its month's end comes back as another one.
        (day.civil() == (year, month, date)).then_some(day)
    }

    // Years that begin in March end with the leap day; 146,097 days are 400 of
    // them ("days_from_civil" and its inverse, Howard Hinnant).
    fn from_civil(year: u64, month: u64, date: u64) -> Self {
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * month + 2) / 5 + date - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self(era * ERA_DAYS + day_of_era - TO_1970)
    }

    fn civil(self) -> (u64, u64, u64) {
        let days = self.0 + TO_1970;
        let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let date = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        (era * 400 + year_of_era + next_year, month, date)
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, date) = self.civil();
        write!(f, "{year:04}-{month:02}-{date:02}")
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no day")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, text: &str) {
        assert_eq!(Moment(seconds * 1000).rfc3339(), text);
    }

    #[test]
    fn moments_as_people_read_them() {
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(951_868_800, "2000-03-01T00:00:00Z");
        check(1_772_360_101, "2026-03-01T10:15:01Z");
        check(4_102_444_799, "2099-12-31T23:59:59Z");
    }
    #[test]
    fn a_moment_to_the_millisecond() {
        assert_eq!(
            Moment(1_772_360_101_042).rfc3339_millis(),
            "2026-03-01T10:15:01.042Z"
        );
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        for number in (0..60_000).chain([2_932_896]) {
            let day = Day(number);
            assert_eq!(Day::parse(&day.to_string()), Some(day), "{day}");
        }
        let day = Day::parse("2028-02-29").unwrap();
        assert_eq!(
            (Day::of(day.start()), Day::of(day.end())),
            (day, day.plus(1))
        );
        assert_eq!(Day::of(day.end().minus_millis(1)), day);
    }

    #[test]
    fn what_is_no_day() {
        for text in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-1-01",
            "+026-01-01",
            "2026-01-01T",
            "2026-01-01-",
        ] {
            assert_eq!(Day::parse(text), None, "{text:?}");
        }
    }
}
