//! The job that a dynamic group gives to those that enter it: a rollout without
//! targets of its own, which follows who comes.
//!
//! One takes in who enters for sixty days, a device once; who enters after that
//! begins the next one. So each ends, and so does the workflow that carries it
//! out, which may run for a year at most ("Step Functions service quotas"). A
//! definition or a template that is changed has a job of its own. Stopped, by its
//! operator or by failures, it stays stopped until one of them changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::order::{Order, Targets};
use super::spec::Spec;
use super::{Reason, Rollout, RolloutId};
use crate::catalog::{DefinitionRow, JobTemplate};
use crate::csr::sha256_hex;
use crate::failure::Failure;
use crate::names::{GroupName, ThingTypeName};
use crate::time::{DAY_MILLIS, Moment};

/// For how long one takes in who enters.
const OPEN_MILLIS: u64 = 60 * DAY_MILLIS;
/// How long one lasts: those that entered last, perhaps the whole fleet at once,
/// have their turn too.
const LASTS_MINUTES: u64 = 90 * 24 * 60;

/// `GROUP#group / ON_ENTER`: the group's newest job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnEnterRow {
    /// The job.
    pub rollout_id: RolloutId,
    /// The SHA-256 of what it stems from: the group, since when its definition is
    /// what it is, the template and its type.
    pub asked: String,
    /// Which of them it is, from 1.
    pub number: u64,
}

/// What follows for one that has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnEntering {
    /// The group's job lists it.
    Join,
    /// It is the first of this job.
    Begin(OnEnterRow),
    /// Nothing: the job was stopped.
    Nothing,
}

/// Decides what follows for one that enters a group now, whose newest job is
/// this. `thing_type` is AWS's name of the type that the template is for.
pub fn on_entering(
    definition: &DefinitionRow,
    template: &JobTemplate,
    thing_type: Option<&ThingTypeName>,
    newest: Option<(&OnEnterRow, &Rollout)>,
    now: Moment,
) -> OnEntering {
    let group = &definition.definition.name;
    let mut asked = json!([group, definition.since, template, thing_type]);
    // The table keeps no order of a document's fields.
    asked.sort_all_objects();
    let asked = sha256_hex(asked.to_string().as_bytes());
    let number = match newest {
        Some((row, rollout)) if row.asked == asked => {
            if matches!(rollout.stopped, Some(ref why) if *why != Reason::OutOfTime) {
                return OnEntering::Nothing;
            }
            let open = now < rollout.started_at.plus_millis(OPEN_MILLIS);
            if open && !rollout.phase.ended() {
                return OnEntering::Join;
            }
            row.number + 1
        }
        Some((row, _)) => row.number + 1,
        None => 1,
    };
    let key = format!("enter\0{group}\0{asked}\0{number}");
    OnEntering::Begin(OnEnterRow {
        rollout_id: RolloutId::from_key(&key),
        asked,
        number,
    })
}

/// How such a job is rolled out: the first that enters is the canary; then up to
/// a hundred a minute, in waves of at most two hours; and not on, once half of a
/// wave has failed.
///
/// # Errors
/// None; the numbers are within their bounds.
pub fn spec() -> Result<Spec, Failure> {
    Spec::read(
        "",
        json!({
            "waves": [1, 1000], "lateJoinersPerMinute": 100,
            "mostFailedPercent": 50, "leastSucceededPercent": 50,
            "deadlineMinutes": 120, "durationMinutes": LASTS_MINUTES,
        }),
    )
}

/// What such a job orders, but for the document.
pub fn order(group: &GroupName, template: &JobTemplate, row: &OnEnterRow) -> Order {
    Order {
        template: template.name.clone(),
        parameters: BTreeMap::new(),
        targets: Targets::DynamicGroup {
            name: group.clone(),
        },
        asked: row.asked.clone(),
        by: format!("the definition of {group}"),
        document: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::wave::Cursor;
    use super::super::{Command, Next, Phase, Taken, Tally, Work};
    use super::*;

    /// What became of a job.
    type To = fn(&mut Rollout);

    fn definition(since: u64) -> DefinitionRow {
        let definition = json!({"name": "old", "query": "a:1", "onEnter": {"job": "update"}});
        let row = json!({"definition": definition, "revision": 1, "since": since});
        serde_json::from_value(row).unwrap()
    }

    fn template(document: &Value) -> JobTemplate {
        serde_json::from_value(json!({"name": "update", "document": document})).unwrap()
    }

    fn begun(on_entering: OnEntering) -> OnEnterRow {
        match on_entering {
            OnEntering::Begin(row) => row,
            other => panic!("{other:?}"),
        }
    }

    fn first() -> (OnEnterRow, Rollout) {
        let row = on_entering(&definition(1), &template(&json!(1)), None, None, Moment(0));
        let row = begun(row);
        let rollout = Rollout::following(row.rollout_id.clone(), spec().unwrap(), Moment(0));
        (row, rollout)
    }

    #[test]
    fn what_follows_for_one_that_enters() {
        let day = |n: u64| Moment(n * DAY_MILLIS);
        let open = |_: &mut Rollout| {};
        let paused = |rollout: &mut Rollout| rollout.paused = Some(Reason::Operator);
        let stopped = |rollout: &mut Rollout| {
            rollout.phase = Phase::Stopped;
            rollout.stopped = Some(Reason::Operator);
        };
        let out_of_time = |rollout: &mut Rollout| {
            rollout.phase = Phase::Stopped;
            rollout.stopped = Some(Reason::OutOfTime);
        };
        let done = |rollout: &mut Rollout| rollout.phase = Phase::Done;
        for (to, at, since, document, expected) in [
            (open as To, day(0), 1, 1, "Join"),
            (open, day(59), 1, 1, "Join"),
            (paused, day(1), 1, 1, "Join"),
            (open, day(60), 1, 1, "Begin 2"),
            (done, day(1), 1, 1, "Begin 2"),
            (out_of_time, day(1), 1, 1, "Begin 2"),
            (stopped, day(1), 1, 1, "Nothing"),
            (stopped, day(100), 1, 1, "Nothing"),
            // Whoever changes it wants it.
            (stopped, day(1), 2, 1, "Begin 2"),
            (open, day(1), 2, 1, "Begin 2"),
            (open, day(1), 1, 2, "Begin 2"),
        ] {
            let (row, mut rollout) = first();
            to(&mut rollout);
            let (definition, template) = (definition(since), template(&json!(document)));
            let found = on_entering(&definition, &template, None, Some((&row, &rollout)), at);
            let told = match &found {
                OnEntering::Begin(next) => {
                    assert_ne!(next.rollout_id, row.rollout_id);
                    format!("Begin {}", next.number)
                }
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{at:?} {since} {document} {rollout:?}");
        }
    }

    #[test]
    fn whoever_is_first_begins_the_same_job() {
        assert_eq!(first(), first());
        let mut other = definition(1);
        other.definition.name = GroupName::parse("new").unwrap();
        let other = on_entering(&other, &template(&json!(1)), None, None, Moment(0));
        assert_ne!(begun(other).rollout_id, first().0.rollout_id);
        let read = |document| {
            let template = template(&serde_json::from_str(document).unwrap());
            begun(on_entering(
                &definition(1),
                &template,
                None,
                None,
                Moment(0),
            ))
        };
        assert_eq!(read(r#"{"a": 1, "b": 2}"#), read(r#"{"b": 2, "a": 1}"#));
        // A type that was changed is another one in AWS.
        let moved = ThingTypeName::parse("light-v2").unwrap();
        let template = template(&json!(1));
        let moved = on_entering(&definition(1), &template, Some(&moved), None, Moment(0));
        assert_ne!(begun(moved).rollout_id, first().0.rollout_id);
    }

    fn wave(row: Rollout, last: &Tally, joined: u64, place: &str, now: Moment) -> Rollout {
        let row = row.settle(last, joined, now);
        assert_eq!(row.phase, Phase::Filling, "{row:?}");
        let taken = Taken {
            looked_at: joined - row.looked_at,
            taken: joined - row.looked_at,
            first: joined - row.looked_at,
            last: Some(Cursor(place.to_owned())),
            end: true,
            ..Taken::default()
        };
        let row = row.took(&taken).settle(&Tally::default(), joined, now);
        row.job_intended().job_made(now)
    }

    fn ended(mut row: Rollout, tally: &Tally, joined: u64, now: Moment) -> Rollout {
        for _ in 0..4 {
            row = row.settle(tally, joined, now);
            row = match row.next(now) {
                Next::Do(Work::Cancel(..)) => row.canceled(),
                Next::Do(Work::Recheck(_)) => row.rechecked(),
                Next::Do(Work::RemoveGroup(_)) => row.group_removed(),
                _ => row,
            };
        }
        row
    }

    #[test]
    fn it_waits_for_the_first_and_gives_it_to_whoever_comes() {
        let (_, rollout) = first();
        let waiting = rollout.settle(&Tally::default(), 0, Moment(0));
        assert_eq!(waiting.next(Moment(0)), Next::Wait(waiting.ends_at));
        assert_eq!(waiting.status(), "FOLLOWING");

        let row = wave(waiting, &Tally::default(), 1, "L#1", Moment(1));
        let rate = match row.next(row.wave.as_ref().unwrap().look_at) {
            Next::Do(Work::Describe(_)) => row.spec.late_joiners,
            other => panic!("{other:?}"),
        };
        assert_eq!(rate.unwrap().get(), 100);
        let succeeded = Tally {
            succeeded: 1,
            ..Tally::default()
        };
        let row = ended(row, &succeeded, 1, Moment(2));
        assert_eq!(row.status(), "FOLLOWING", "{row:?}");

        // One that is silent holds it up until its wave's end, and no longer.
        let later = row.not_before;
        let row = wave(row, &succeeded, 2, "L#2", later);
        let over = row.wave.as_ref().unwrap().deadline;
        let row = ended(row, &Tally::default(), 2, over);
        assert_eq!((row.status(), row.paused.as_ref()), ("FOLLOWING", None));
        let over = row.clone().settle(&Tally::default(), 2, row.ends_at);
        assert_eq!(over.phase, Phase::Done);

        let failed = Tally {
            failed: 1,
            ..Tally::default()
        };
        let later = row.not_before;
        let mut row = ended(
            wave(row, &Tally::default(), 3, "L#3", later),
            &failed,
            3,
            later,
        );
        assert_eq!(row.status(), "PAUSED", "{row:?}");
        row.obey(Command::Resume, later).unwrap();
        // It is looked for who had no turn, and then it follows again.
        assert_eq!(row.status(), "RUNNING", "{row:?}");
    }
}
