//! What a caller is shown of a sweep.

use serde::Serialize;

use crate::names::SweepId;
use crate::sweep::budget::Budget;
use crate::sweep::{Counts, Sweep, SweepStatus};
use crate::time::{Day, Moment};

/// A sweep, its counts, and when it will be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepView<'a> {
    sweep_id: &'a SweepId,
    status: SweepStatus,
    started_by: &'a str,
    planned_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    budget: Budget,
    due: u64,
    started: u64,
    renewed: u64,
    failed: u64,
    silent: u64,
    in_flight: u64,
    carried: u64,
    oldest_due: Day,
    /// When the last of what is due now will have been started, over as many
    /// sweeps as that takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<Moment>,
}

impl<'a> SweepView<'a> {
    /// A sweep as it stands now.
    pub fn new(sweep: &'a Sweep, counts: Counts, now: Moment) -> Self {
        // What a page began and ended while the sweep was paused is in no page.
        let started = sweep.progress.started.max(counts.ended());
        let left = sweep.due.saturating_sub(sweep.progress.looked_at);
        let begins = match sweep.status {
            SweepStatus::Running => Some(sweep.progress.next_slot.max(now)),
            SweepStatus::AwaitingApproval | SweepStatus::Paused => Some(now),
            SweepStatus::Aborted | SweepStatus::Done => None,
        };
        Self {
            sweep_id: &sweep.sweep_id,
            status: sweep.status,
            started_by: &sweep.started_by,
            planned_at: sweep.planned_at,
            ended_at: sweep.ended_at,
            reason: sweep.reason.as_deref(),
            budget: sweep.budget,
            due: sweep.due,
            started,
            renewed: counts.renewed,
            failed: counts.failed,
            silent: counts.silent,
            in_flight: started - counts.ended(),
            carried: if sweep.status.open() {
                left.saturating_sub(sweep.budget_left())
            } else {
                sweep.carried
            },
            oldest_due: sweep.oldest_day(),
            done_at: begins.map(|begins| sweep.budget.done_at(begins, left)),
        }
    }
}
