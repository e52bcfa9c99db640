//! How long a device waits before it connects again.

use std::time::Duration;

/// The first wait is somewhere below this.
const FIRST: Duration = Duration::from_secs(1);

/// No wait is longer than this. A fleet that lost its broker comes back spread
/// over as much.
const LONGEST: Duration = Duration::from_mins(2);

/// A connection that lived this long was a good one: the next wait is short.
const GOOD: Duration = Duration::from_secs(30);

/// Capped exponential backoff with full jitter ("Exponential Backoff And
/// Jitter", AWS Architecture Blog): each wait is drawn evenly from zero to a
/// bound that doubles, so that lights cut off together do not come back
/// together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after another connection failed, or was cut after `lived`.
    /// `drawn` is a random number.
    pub(crate) fn after(&mut self, lived: Option<Duration>, drawn: u64) -> Duration {
        if lived.is_some_and(|lived| lived >= GOOD) {
            self.failures = 0;
        }
        let bound = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(drawn % (millis + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest of the waits that the n-th failure in a row may draw.
    fn bounds(lived: &[Option<u64>]) -> Vec<u64> {
        let mut backoff = Backoff::default();
        lived
            .iter()
            .map(|lived| {
                let before = backoff.failures;
                let lived = lived.map(Duration::from_secs);
                // Drawing every number in turn finds the largest.
                let longest = (0..=130_000)
                    .map(|drawn| {
                        backoff.failures = before;
                        backoff.after(lived, drawn)
                    })
                    .max();
                longest.unwrap_or_default().as_secs()
            })
            .collect()
    }

    #[test]
    fn waits_double_up_to_a_cap_and_start_over_after_a_good_connection() {
        assert_eq!(bounds(&[None; 9]), [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(
            bounds(&[None, Some(1), Some(29), Some(30), None]),
            [1, 2, 4, 1, 2],
            "a connection that is cut at once is no good one"
        );
    }

    #[test]
    fn waits_are_drawn_from_all_of_the_range() {
        let mut backoff = Backoff { failures: 3 };
        assert_eq!(backoff.after(None, 0), Duration::ZERO);
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.after(None, 120_000), LONGEST);
    }
}
