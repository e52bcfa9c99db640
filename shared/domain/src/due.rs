//! When a certificate is due for renewal, and where the registry keeps that.
//!
//! The due index spreads each day over shards, so that what is due is read by
//! day and never by a scan, and one day's million rows have no hot partition.

pub mod query;
pub mod walk;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::device::Issuer;
use crate::failure::Failure;
use crate::names::ThingName;
use crate::time::{DAY_MILLIS, Day, Moment};

/// The index of what is due.
pub const INDEX: &str = "due";
/// Its partition key, as the rows spell it.
pub const PARTITION: &str = "dueShard";
/// Its sort key: milliseconds since 1970.
pub const SORT: &str = "dueAt";

/// Over how many partitions the index spreads one day.
pub const SHARDS: u32 = 16;

/// The jitter is at most one in this many of the lifetime, or of the age.
const JITTER: u64 = 20;

/// At what age a certificate that all but never expires is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalAge(u64);

impl Default for RenewalAge {
    fn default() -> Self {
        Self(365)
    }
}

impl RenewalAge {
    /// An age of whole days, from 1 to 3,650.
    ///
    /// # Errors
    /// `Invalid` for what is no such number.
    pub fn parse(days: &str) -> Result<Self, Failure> {
        days.parse()
            .ok()
            .filter(|days| (1..=3650).contains(days))
            .map(Self)
            .ok_or_else(|| {
                Failure::invalid(
                    "renewalAgeDays",
                    format!("{days:?} is no age in days"),
                    "Give a number from 1 to 3650.",
                )
            })
    }

    const fn millis(self) -> u64 {
        self.0 * DAY_MILLIS
    }
}

/// When one certificate is due, and the index's partition that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Due {
    /// From when on it is renewed.
    pub due_at: Moment,
    /// The index's partition.
    pub due_shard: String,
}

impl Due {
    /// When the certificate of a thing is due.
    ///
    /// Certificates of our own authority: at 2/3 of their lifetime. Those of
    /// AWS IoT's live until 2049 ("Create your own client certificates" has
    /// their end), so these go by age, and by lifetime only where that comes
    /// first. From both a jitter is taken, fixed by the thing's name, so that
    /// a cohort spreads out and asking again gives the same answer.
    pub fn of(
        issuer: Issuer,
        issued_at: Moment,
        not_after: Moment,
        name: &ThingName,
        renewal_age: RenewalAge,
    ) -> Self {
        let hash = Hash::of(name);
        let lifetime = issued_at.until(not_after);
        let by_lifetime = lifetime / 3 * 2 + lifetime % 3 * 2 / 3 - hash.jitter(lifetime / JITTER);
        let age = renewal_age.millis();
        let by_age = age - hash.jitter(age / JITTER);
        let after = match issuer {
            Issuer::AwsIot => by_age.min(by_lifetime),
            Issuer::KmsCa => by_lifetime,
        };
        let due_at = issued_at.plus_millis(after);
        Self {
            due_at,
            due_shard: shard(Day::of(due_at), hash.shard()),
        }
    }
}

/// The index's partition for one shard of a day, `DUE#yyyy-mm-dd#nn`.
pub fn shard(day: Day, number: u32) -> String {
    format!("DUE#{day}#{number:02}")
}

/// What a name decides. Jitter and shard come from different bytes: from the
/// same ones, a day of a cohort would lie in few of its shards.
struct Hash {
    jitter: u64,
    shard: u8,
}

impl Hash {
    fn of(name: &ThingName) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"renewal\0");
        context.update(name.as_str().as_bytes());
        let digest = context.finish();
        let bytes = digest.as_ref();
        Self {
            jitter: bytes[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
            shard: bytes[8],
        }
    }

    /// From 0 to `most`, evenly.
    fn jitter(&self, most: u64) -> u64 {
        let scaled = u128::from(self.jitter) * (u128::from(most) + 1);
        u64::try_from(scaled >> 64).unwrap_or(most)
    }

    fn shard(&self) -> u32 {
        u32::from(self.shard) % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const AGE: RenewalAge = RenewalAge(365);

    fn light(number: u32) -> ThingName {
        ThingName::parse(&format!("milan-navigli-{number:06}")).unwrap()
    }

    /// Due between these milliseconds after the issue, whatever the name.
    fn check(issuer: Issuer, lifetime: u64, age: RenewalAge, earliest: u64, latest: u64) {
        let start = Moment(1_772_360_101_480);
        for number in 0..200 {
            let name = light(number);
            let due = Due::of(issuer, start, start.plus_millis(lifetime), &name, age);
            let after = start.until(due.due_at);
            assert!(
                (earliest..=latest).contains(&after),
                "{name}: {after} is not in {earliest}..={latest}"
            );
        }
    }

    #[test]
    fn own_certificates_at_two_thirds_and_awss_by_age() {
        let year = 365 * DAY_MILLIS;
        check(Issuer::KmsCa, year, AGE, year * 37 / 60, year * 2 / 3);
        check(Issuer::KmsCa, 60_000, AGE, 37_000, 40_000);
        check(Issuer::KmsCa, 0, AGE, 0, 0);
        check(Issuer::AwsIot, 23 * year, AGE, year * 19 / 20, year);
        let month = RenewalAge(30);
        check(
            Issuer::AwsIot,
            23 * year,
            month,
            month.millis() * 19 / 20,
            month.millis(),
        );
        // Towards 2049 the age would come after the end.
        check(Issuer::AwsIot, year, AGE, year * 37 / 60, year * 2 / 3);
    }

    #[test]
    fn a_cohort_spreads_evenly_over_time_and_shards() {
        let (issued, year) = (Moment(1_772_360_101_480), 365 * DAY_MILLIS);
        let span = year / JITTER;
        let (mut slices, mut parts) = (BTreeMap::new(), BTreeMap::new());
        let mut days: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for number in 0..10_000 {
            let due = Due::of(
                Issuer::KmsCa,
                issued,
                issued.plus_millis(year),
                &light(number),
                AGE,
            );
            let before = due.due_at.until(issued.plus_millis(year * 2 / 3));
            *slices.entry(before * 20 / (span + 1)).or_insert(0) += 1;
            let (day, shard) = due.due_shard.rsplit_once('#').unwrap();
            *parts.entry(shard.to_owned()).or_insert(0) += 1;
            *days
                .entry(day.to_owned())
                .or_default()
                .entry(shard.to_owned())
                .or_default() += 1;
        }
        // 500 a slice and 625 a shard, within five standard deviations.
        assert_eq!((slices.len(), parts.len()), (20, 16));
        assert!(
            slices.values().all(|n| (391..=609).contains(n)),
            "{slices:?}"
        );
        assert!(parts.values().all(|n| (504..=746).contains(n)), "{parts:?}");
        // A whole day has about 550 of them, some in every shard.
        let whole = days
            .values()
            .filter(|shards| shards.values().sum::<u32>() > 300);
        assert!(whole.clone().count() >= 17);
        assert!(whole.into_iter().all(|shards| shards.len() == 16));
    }

    #[test]
    fn the_index_is_spelled_as_the_template_spells_it() {
        let due = Due {
            due_at: Moment(86_400_000),
            due_shard: shard(Day::parse("1970-01-02").unwrap(), 7),
        };
        let row = serde_json::to_value(due).unwrap();
        assert_eq!(row[PARTITION], "DUE#1970-01-02#07");
        assert_eq!(row[SORT], 86_400_000);
    }

    #[test]
    fn ages() {
        for (text, accepted) in [
            ("1", true),
            ("3650", true),
            ("0", false),
            ("3651", false),
            ("", false),
            ("-1", false),
            ("1.5", false),
        ] {
            assert_eq!(RenewalAge::parse(text).is_ok(), accepted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn due_within_bounds_in_its_own_days_shard_and_always_the_same(
            name in "[a-zA-Z0-9_:-]{1,128}",
            issued in 0_u64..4_102_444_800_000,
            lifetime in 0_u64..(100 * 365 * DAY_MILLIS),
            days in 1_u64..=3650,
            own in any::<bool>(),
        ) {
            let name = ThingName::parse(&name).unwrap();
            let issuer = if own { Issuer::KmsCa } else { Issuer::AwsIot };
            let (issued, age) = (Moment(issued), RenewalAge(days));
            let ends = issued.plus_millis(lifetime);
            let due = Due::of(issuer, issued, ends, &name, age);
            prop_assert_eq!(&due, &Due::of(issuer, issued, ends, &name, age));
            prop_assert!(issued <= due.due_at && due.due_at <= ends);
            let after = u128::from(issued.until(due.due_at));
            // In sixtieths, so that nothing is rounded: 2/3 - 1/20 = 37/60.
            let (life, old) = (u128::from(lifetime), u128::from(age.millis()));
            let earliest = if own { 37 * life } else { (37 * life).min(57 * old) };
            let latest = if own { 40 * life } else { (40 * life).min(60 * old) };
            prop_assert!((earliest.saturating_sub(60)..=latest).contains(&(after * 60)));
            let day = Day::of(due.due_at).to_string();
            prop_assert!(due.due_shard.starts_with(&format!("DUE#{day}#")), "{}", due.due_shard);
            let number = due.due_shard.rsplit_once('#').and_then(|(_, n)| n.parse().ok());
            prop_assert!(number.is_some_and(|n: u32| n < SHARDS));
        }
    }
}
