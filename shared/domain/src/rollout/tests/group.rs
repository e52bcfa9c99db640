//! A wave's group, and how waves are named.

use serde_json::json;

use super::spec;
use crate::rollout::limits::{MOST_DIRECT, Percent};
use crate::rollout::tally::Tally;
use crate::rollout::{Command, Next, Rollout, RolloutId, Work};
use crate::time::Moment;

#[test]
fn a_small_wave_needs_no_group() {
    let now = Moment(0);
    for (size, group) in [(MOST_DIRECT, false), (MOST_DIRECT + 1, true)] {
        let row = Rollout::start(
            RolloutId::from_key("a"),
            spec(json!({"waves": [size]})),
            now,
        );
        let row = row
            .listed(1_000_000, None, true, now)
            .settle(&Tally::default(), 0, now);
        let made = matches!(row.next(now), Next::Do(Work::CreateGroup(_)));
        assert_eq!(made, group, "{size}");
    }
    assert_eq!(Percent::new("", 10).unwrap().of(1_000_000), 100_000);
}

/// A worker that died may have created the group that the row knows nothing of.
#[test]
fn a_group_that_may_be_there_is_removed() {
    let now = Moment(0);
    let row = Rollout::start(RolloutId::from_key("a"), spec(json!({"waves": [101]})), now);
    let none = Tally::default();
    let mut row = row.listed(500, None, true, now).settle(&none, 0, now);
    row.obey(Command::Stop { running: false }, now).unwrap();
    let row = row.settle(&none, 0, now);
    let name = row.rollout_id.of_wave(1);
    assert_eq!(row.next(now), Next::Do(Work::RemoveGroup(name)));
}

#[test]
fn jobs_in_aws_are_ours_by_their_name() {
    let id = RolloutId::from_key("k");
    let job = id.of_wave(12);
    assert!(job.len() <= 64, "AWS: a job's id has at most 64 characters");
    assert_eq!(RolloutId::wave_of(&job), Some((id, 12)));
    for other in ["firmware", "job-1-w2", "job-w1", &format!("{job}x")] {
        assert_eq!(RolloutId::wave_of(other), None, "{other}");
    }
}
