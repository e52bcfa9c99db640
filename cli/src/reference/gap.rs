//! For how long nothing was heard of a device: the longest time between two
//! of its messages that the broker acknowledged.

use std::time::{Duration, Instant};

/// The measure of one device. What lies before its first acknowledged message
/// and after its last counts as no gap, except that [`Gaps::until`] adds what
/// has passed since the last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gaps {
    last: Option<Instant>,
    longest: Duration,
    pub(crate) acknowledged: u64,
}

impl Gaps {
    /// The broker acknowledged a message.
    pub(crate) fn acknowledge(&mut self, at: Instant) {
        self.longest = self.until(at);
        self.last = Some(at);
        self.acknowledged += 1;
    }

    /// The longest gap, counting one that is open still.
    pub(crate) fn until(&self, now: Instant) -> Duration {
        let open = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.longest.max(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut gaps = Gaps::default();
        assert_eq!(
            gaps.until(at(9)),
            Duration::ZERO,
            "nothing was to be heard yet"
        );
        for seconds in [10, 11, 15, 16] {
            gaps.acknowledge(at(seconds));
        }
        assert_eq!(gaps.acknowledged, 4);
        assert_eq!(gaps.until(at(17)), Duration::from_secs(4));
        assert_eq!(
            gaps.until(at(26)),
            Duration::from_secs(10),
            "the open one counts"
        );
    }
}
