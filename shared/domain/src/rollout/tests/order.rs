//! Any order of events, and any repetition.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{MINUTE, end_wave_telling, report, running, spec, thing};
use crate::names::ThingName;
use crate::rollout::Rollout;
use crate::rollout::execution::{Again, Class, Delta, Execution, Heard, Report, Status, Take};
use crate::rollout::spec::Spec;
use crate::rollout::tally::Tally;
use crate::rollout::trail::{Event, What};
use crate::rollout::view::Counts;
use crate::time::Moment;

/// What AWS says of one device, in the order in which it happens.
fn history(retries: u64) -> impl Strategy<Value = Vec<(Status, u64)>> {
    use Status::{Failed, InProgress, Queued, Rejected, Removed, Succeeded, TimedOut};
    let failure = prop::sample::select(vec![Failed, TimedOut]);
    let failures = prop::collection::vec(failure, 0..=usize::try_from(retries).unwrap());
    let last = prop::sample::select(vec![
        None,
        Some(Succeeded),
        Some(Failed),
        Some(Rejected),
        Some(Removed),
    ]);
    (failures, last).prop_map(move |(failures, last)| {
        let mut said = Vec::new();
        let count = failures.len() as u64 + 1;
        let attempts = failures.into_iter().map(Some).chain([last]);
        for (number, end) in (1..).zip(attempts) {
            said.extend([(Queued, number), (InProgress, number)]);
            said.extend(end.map(|status| (status, number)));
        }
        // A failure before the retries are used up is not the last word.
        if last == Some(Failed) && count <= retries {
            said.pop();
        }
        said
    })
}

type Told = Vec<(u64, Heard)>;
type Hearing = fn(&Execution, &Heard, &Spec) -> Option<(Execution, Option<Delta>)>;

fn tell(
    told: &Told,
    spec: &Spec,
    devices: u64,
    hearing: Hearing,
) -> (BTreeMap<ThingName, Execution>, Tally, Rollout, Vec<Event>) {
    let mut trail = Vec::new();
    let mut row = running(spec.clone(), devices);
    let mut tally = Tally::default();
    let mut rows = BTreeMap::new();
    for n in 0..devices {
        if let Take::New(row, None) = Execution::take(None, &thing(n), 1, &Again::default(), spec) {
            rows.insert(thing(n), row);
        }
    }
    for (n, heard) in told {
        if let Some((next, delta)) = hearing(&rows[&thing(*n)], heard, spec) {
            rows.insert(thing(*n), next);
            if let Some(delta) = delta {
                tally.add(delta);
            }
        }
        // Whoever wakes looks at the row after each piece of news.
        row = end_wave_telling(row, &tally, Moment(MINUTE), &mut trail);
    }
    // How the others stood at its end depends on who was heard first.
    for event in &mut trail {
        if let What::WaveEnded { counts, .. } = &mut event.what {
            *counts = Counts::default();
        }
    }
    (rows, tally, row, trail)
}

proptest! {
    /// Any order and any repetition of what AWS says ends in the same rows, the
    /// same counts, the same decision and the same trail.
    #[test]
    fn order_and_repetition_make_no_difference(
        histories in prop::collection::vec(history(2), 1..8),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        seed in any::<u64>(),
        most_failed in 0_u64..=100,
    ) {
        let spec = spec(json!({"retries": 2, "mostFailedPercent": most_failed, "leastSucceededPercent": 0}));
        let devices = histories.len() as u64;
        let mut in_order = Told::new();
        for (n, history) in (0..).zip(&histories) {
            for (at, (status, number)) in (0..).zip(history) {
                let report = Report::new(*status, *number, Moment(at), "E");
                in_order.push((n, Heard::Report(1, report)));
            }
        }
        let mut shuffled = in_order.clone();
        shuffled.extend(repeated.iter().map(|index| in_order[index.index(in_order.len())].clone()));
        shuffled.sort_by_key(|told| crate::csr::sha256_hex(format!("{seed}{told:?}").as_bytes()));
        let (rows, tally, row, trail) = tell(&in_order, &spec, devices, Execution::hear);
        let (other_rows, other_tally, other_row, other_trail) = tell(&shuffled, &spec, devices, Execution::hear);
        prop_assert_eq!(&rows, &other_rows);
        prop_assert_eq!(tally, other_tally);
        prop_assert_eq!(trail, other_trail);
        prop_assert_eq!((row.phase, &row.paused), (other_row.phase, &other_row.paused));
        let mut counted = Tally::default();
        for row in rows.values() {
            counted.add(Delta { wave: 1, from: Class::Queued, to: row.class(&spec) });
        }
        prop_assert_eq!(tally, counted);
    }
}

/// The same with a flaw, to see that the comparison finds it: the last word is
/// believed, instead of the greatest.
#[test]
fn believing_the_last_word_would_be_found() {
    let spec = spec(json!({}));
    let said = [
        report(Status::Queued, 1),
        report(Status::InProgress, 1),
        report(Status::Succeeded, 1),
    ];
    let told = |order: [usize; 3]| order.map(|i| (0, said[i].clone())).to_vec();
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let differ = |hearing: Hearing| {
        let ends = orders.map(|order| tell(&told(order), &spec, 1, hearing));
        ends.iter().any(|end| *end != ends[0])
    };
    assert!(!differ(Execution::hear));
    assert!(differ(|row, heard, spec| {
        let forgetful = Execution {
            report: None,
            ..row.clone()
        };
        let (next, _) = forgetful.hear(heard, spec)?;
        let (from, to) = (row.class(spec), next.class(spec));
        Some((next, Some(Delta { wave: 1, from, to })))
    }));
}
