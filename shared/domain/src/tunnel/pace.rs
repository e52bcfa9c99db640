//! When to call `OpenTunnel` and `CloseTunnel`, of which an account has one a
//! second each ("AWS IoT Core endpoints and quotas", AWS General Reference).

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::time::Moment;

/// Longer than this nobody waits within an invocation.
const MOST_WAIT_MILLIS: u64 = 10_000;

/// `TUNNELS / PACE`: changed by compare-and-swap, so that two who come at once
/// get two slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// The next free moment.
    pub next: Moment,
}

impl Pace {
    /// Takes the next slot of a quota of so many a second: when it is, and the
    /// row as it is to be written before the call.
    ///
    /// # Errors
    /// `Busy`, with the time to wait, where the queue is long; nothing is
    /// taken then.
    pub fn take(self, per_second: u32, now: Moment) -> Result<(Moment, Self), Failure> {
        let slot = self.next.max(now);
        let wait = now.until(slot);
        if wait > MOST_WAIT_MILLIS {
            return Err(Failure::busy(
                "more tunnels are asked for than AWS opens in this time",
                (wait - MOST_WAIT_MILLIS).div_ceil(1000),
            ));
        }
        let interval = 1000_u64.div_ceil(u64::from(per_second.max(1)));
        let next = slot.plus_millis(interval);
        Ok((slot, Self { next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_however_many_ask() {
        let mut pace = Pace::default();
        let mut slots = Vec::new();
        let mut refused = 0;
        for n in 0..100_u64 {
            // Four ask in each second.
            let now = Moment(1_000_000 + n * 250);
            match pace.take(1, now) {
                Ok((slot, next)) => {
                    assert!(slot >= now && now.until(slot) <= MOST_WAIT_MILLIS);
                    slots.push(slot.0);
                    pace = next;
                }
                Err(failure) => {
                    assert!(failure.retry_after.is_some_and(|after| after >= 1));
                    refused += 1;
                }
            }
        }
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] >= 1000));
        assert_eq!((slots.len(), refused), (35, 65));
    }
}
