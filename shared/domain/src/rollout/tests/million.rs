//! The planning size.

use serde_json::json;

use super::{spec, tally};
use crate::rollout::limits::MOST_DIRECT;
use crate::rollout::wave::Cursor;
use crate::rollout::{Next, Phase, Rollout, RolloutId, Taken, Work};
use crate::time::Moment;

/// A million targets, half a thousand a page: what is stored stays small, and
/// nobody is passed over.
#[test]
fn a_million() {
    let million = 1_000_000;
    let spec = spec(json!({"waves": [50, "1%", "10%"], "durationMinutes": 100_000}));
    let mut now = Moment(0);
    let mut row = Rollout::start(RolloutId::from_key("m"), spec, now);
    let mut works = 0;
    loop {
        let last = row.last.map_or(0, |last| last.taken);
        let size = row.wave.as_ref().map_or(last, |wave| wave.taken);
        row = row.settle(&tally(size, 0, 0), 0, now);
        assert!(serde_json::to_string(&row).unwrap().len() < 2048);
        let work = match row.next(now) {
            Next::Do(work) => work,
            Next::Ended => break,
            Next::Wait(until) | Next::AwaitOperator(until) => {
                now = now.max(until);
                continue;
            }
        };
        works += 1;
        row = match work {
            Work::List(_) => {
                let last = Some(Cursor(format!("{:0128}", row.listed)));
                let end = row.listed + 500 >= million;
                row.listed(500, last, end, now)
            }
            Work::CreateGroup(_) => row.group_made(),
            Work::Take(taking) => {
                let count = taking.most.min(500).min(million - row.looked_at);
                let last = Some(Cursor(format!("{:0128}", row.looked_at + count)));
                let end = row.looked_at + count == million;
                row.took(&Taken {
                    looked_at: count,
                    taken: count,
                    first: count,
                    last,
                    end,
                    late: 0,
                })
            }
            Work::Intend => row.job_intended(),
            Work::CreateJob(plan) => {
                assert_eq!(plan.group.is_none(), size <= MOST_DIRECT);
                row.job_made(now)
            }
            Work::Describe(_) | Work::Recheck(_) => panic!("nothing was lost"),
            Work::Cancel(..) => row.canceled(),
            Work::RemoveGroup(_) => row.group_removed(),
            Work::CancelBegun(_) => unreachable!("nobody stops it"),
        };
    }
    assert_eq!(
        (row.phase, row.taken, row.waves),
        (Phase::Done, million, 12)
    );
    assert!(works < 2 * 2000 + 12 * 7, "{works}");
}
