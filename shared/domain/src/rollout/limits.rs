//! What AWS IoT Jobs allows, as types ("AWS IoT Device Management endpoints
//! and quotas", AWS General Reference; `CreateJob`, AWS IoT API Reference).

use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;

/// AWS: a job has at most this many targets, things and groups together.
pub const MOST_DIRECT: u64 = 100;

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $least:literal, $most:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The least that AWS takes.
            pub const LEAST: Self = Self($least);
            /// The most that AWS takes.
            pub const MOST: Self = Self($most);

            /// Checks a number; `Invalid` for `path` out of the bounds.
            pub fn new(path: &str, number: u64) -> Result<Self, Failure> {
                let inner = <$inner>::try_from(number).ok();
                inner
                    .filter(|inner| ($least..=$most).contains(inner))
                    .map(Self)
                    .ok_or_else(|| {
                        Failure::invalid(
                            path,
                            format!("{number} is out of bounds"),
                            format!("Give {} from {} to {}.", $what, $least, $most),
                        )
                    })
            }

            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u64::deserialize(deserializer)?;
                Self::new("", number).map_err(serde::de::Error::custom)
            }
        }
    };
}

bounded!(
    /// How many devices are told of a job in a minute.
    PerMinute, u32, 1, 1000, "devices a minute"
);
bounded!(
    /// By how much the rate grows at each step, in tenths: 11 is 1.1.
    Factor, u8, 11, 50, "a factor in tenths,"
);
bounded!(
    /// How often AWS repeats an execution that failed or timed out.
    Retries, u8, 0, 10, "retries"
);
bounded!(
    /// How long an execution may be `IN_PROGRESS`, in minutes.
    InProgressMinutes, u16, 1, 10_080, "minutes"
);
bounded!(
    /// A share in percent.
    Percent, u8, 0, 100, "a share in percent,"
);
bounded!(
    /// How long a presigned URL is valid, in seconds.
    UrlSeconds, u16, 60, 3600, "seconds"
);

impl Percent {
    /// Whether `part` is more than this share of `whole`.
    pub fn exceeded_by(self, part: u64, whole: u64) -> bool {
        part * 100 > u64::from(self.0) * whole
    }

    /// This share of `whole`, rounded up.
    pub fn of(self, whole: u64) -> u64 {
        (u64::from(self.0) * whole).div_ceil(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_bounds_is_refused() {
        fn check<T>(new: impl Fn(&str, u64) -> Result<T, Failure>, least: u64, most: u64) {
            assert!(new("a", least).is_ok() && new("a", most).is_ok());
            assert!(least == 0 || new("a", least - 1).is_err());
            assert!(new("a", most + 1).is_err() && new("a", u64::MAX).is_err());
        }
        check(PerMinute::new, 1, 1000);
        check(Factor::new, 11, 50);
        check(Retries::new, 0, 10);
        check(InProgressMinutes::new, 1, 10_080);
        check(Percent::new, 0, 100);
        check(UrlSeconds::new, 60, 3600);
        assert!(serde_json::from_str::<Retries>("11").is_err());
    }

    #[test]
    fn shares() {
        let percent = |number| Percent::new("a", number).unwrap();
        assert!(!percent(10).exceeded_by(1, 10) && percent(10).exceeded_by(2, 10));
        assert!(percent(0).exceeded_by(1, 1_000_000) && !percent(0).exceeded_by(0, 0));
        assert_eq!(
            (percent(1).of(1), percent(1).of(101), percent(100).of(7)),
            (1, 2, 7)
        );
    }
}
