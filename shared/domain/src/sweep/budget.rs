//! How many rotations may be started, and how fast.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::rotation::Messenger;
use crate::time::{DAY_MILLIS, Moment};

/// The account's quotas of the calls that each rotation makes once, in
/// requests a second. The defaults are AWS's ("AWS IoT Core endpoints and
/// quotas", AWS General Reference); an account may have had them raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// `UpdateCertificate`: the old certificate is made INACTIVE.
    pub update_certificate: u32,
    /// `DeleteCertificate`: after its time of grace.
    pub delete_certificate: u32,
    /// `CreateCertificateFromCsr`: with the issuer `aws-iot`.
    pub create_certificate_from_csr: u32,
    /// `RegisterCertificateWithoutCA`: with the issuer `kms-ca`.
    pub register_certificate_without_ca: u32,
    /// `CreateJob`, `CancelJob` and `DeleteJob`, each: where a job carries the
    /// word to renew.
    pub jobs: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            update_certificate: 10,
            delete_certificate: 10,
            create_certificate_from_csr: 15,
            register_certificate_without_ca: 10,
            jobs: 10,
        }
    }
}

impl Quotas {
    /// The smallest of those that a rotation needs whose word comes so: no
    /// faster can certificates be rotated.
    pub fn bottleneck(&self, messenger: Messenger) -> u32 {
        let certificates = self
            .update_certificate
            .min(self.delete_certificate)
            .min(self.create_certificate_from_csr)
            .min(self.register_certificate_without_ca);
        match messenger {
            Messenger::Mqtt => certificates,
            Messenger::Job => certificates.min(self.jobs),
        }
    }
}

/// What is asked for of a budget. What is not given follows from the quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// How much of each quota a sweep may take, in percent.
    pub share_percent: u32,
    /// At most this many rotations a second.
    pub per_second: Option<u32>,
    /// At most this many rotations a day.
    pub per_day: Option<u64>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            share_percent: 50,
            per_second: None,
            per_day: None,
        }
    }
}

/// A sweep's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Microseconds from one start to the next.
    pub interval_micros: u64,
    /// At most this many rotations in one sweep, of which a day has one.
    pub per_day: u64,
}

/// Rotations are started at this share of the budgeted rate, in percent. The
/// rest is for calls that are sent twice, and for devices whose answers bunch.
const PACE_PERCENT: u64 = 96;

/// For how long a sweep starts rotations, so that it has ended when the next
/// day's begins.
pub const SWEEP_MILLIS: u64 = DAY_MILLIS - 5 * 60 * 1000;

impl Budget {
    /// The budget within these quotas.
    ///
    /// # Errors
    /// `Invalid` for a share of nothing or of more than all, and where a rate
    /// is zero.
    pub fn new(quotas: &Quotas, wishes: &Wishes, messenger: Messenger) -> Result<Self, Failure> {
        if !(1..=100).contains(&wishes.share_percent) {
            return Err(Failure::invalid(
                "share",
                format!("{} is no share in percent", wishes.share_percent),
                "Give a number from 1 to 100.",
            ));
        }
        let hundredths = quotas.bottleneck(messenger) * wishes.share_percent;
        let hundredths = wishes
            .per_second
            .map_or(hundredths, |rate| hundredths.min(rate.saturating_mul(100)));
        if hundredths == 0 || wishes.per_day == Some(0) {
            return Err(Failure::invalid(
                "budget",
                "nothing could ever be renewed with a rate of zero",
                "Give rates and quotas of at least 1.",
            ));
        }
        let interval_micros = 10_000_000_000_u64.div_ceil(u64::from(hundredths) * PACE_PERCENT);
        let fits = SWEEP_MILLIS * 1000 / interval_micros;
        Ok(Self {
            interval_micros,
            per_day: wishes.per_day.map_or(fits, |wish| wish.min(fits)),
        })
    }

    /// When this many will have been started, beginning now, with one sweep a
    /// day. Each is started later than this if devices are offline.
    pub fn done_at(&self, now: Moment, left: u64) -> Moment {
        let days = left.saturating_sub(1) / self.per_day;
        let rest = left - days * self.per_day;
        now.plus_millis(days * DAY_MILLIS + rest * self.interval_micros / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wishes: Wishes, interval_micros: u64, per_day: u64) {
        let budget = Budget::new(&Quotas::default(), &wishes, Messenger::Mqtt).unwrap();
        assert_eq!(
            (budget.interval_micros, budget.per_day),
            (interval_micros, per_day),
            "{wishes:?}"
        );
    }

    #[test]
    fn half_of_the_smallest_quota_unless_less_is_wished() {
        let usual = Wishes::default();
        check(usual, 208_334, 413_278);
        check(
            Wishes {
                share_percent: 100,
                ..usual
            },
            104_167,
            826_557,
        );
        check(
            Wishes {
                per_second: Some(1),
                ..usual
            },
            1_041_667,
            82_655,
        );
        check(
            Wishes {
                per_second: Some(1000),
                per_day: Some(2000),
                ..usual
            },
            208_334,
            2000,
        );
        let raised = Quotas {
            update_certificate: 100,
            delete_certificate: 100,
            register_certificate_without_ca: 100,
            ..Quotas::default()
        };
        let bottlenecks = [Messenger::Mqtt, Messenger::Job].map(|by| raised.bottleneck(by));
        assert_eq!(bottlenecks, [15, 10], "CreateCertificateFromCsr, CreateJob");
    }

    #[test]
    fn a_budget_of_nothing_is_refused() {
        for wishes in [
            Wishes {
                share_percent: 0,
                ..Wishes::default()
            },
            Wishes {
                share_percent: 101,
                ..Wishes::default()
            },
            Wishes {
                per_second: Some(0),
                ..Wishes::default()
            },
            Wishes {
                per_day: Some(0),
                ..Wishes::default()
            },
        ] {
            assert!(
                Budget::new(&Quotas::default(), &wishes, Messenger::Mqtt).is_err(),
                "{wishes:?}"
            );
        }
    }

    #[test]
    fn an_estimate_counts_whole_days_and_the_rest() {
        let budget = Budget {
            interval_micros: 200_000,
            per_day: 100,
        };
        let done = |left| budget.done_at(Moment(0), left).0;
        assert_eq!(done(0), 0);
        assert_eq!(done(100), 20_000);
        assert_eq!(done(101), DAY_MILLIS + 200);
        assert_eq!(done(250), 2 * DAY_MILLIS + 10_000);
    }
}
