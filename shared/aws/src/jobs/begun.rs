//! Executions that have begun: what became of one, and their cancelling.

use aws_sdk_iot::types::{JobExecutionStatus, JobExecutionSummaryForJob};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::execution::{Again, Heard, Report, Status};
use lamplighter_domain::rollout::tally::Tally;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::rollout::{Rollout, Taking};

use super::Jobs;
use super::effects::{PAGE, millis, name_in, read_status};
use super::existing::CALLS;
use crate::clock;
use crate::describe::found;
use crate::failure::{self, Cause};
use crate::table::Key;

impl Jobs {
    /// The newest execution of a wave's job on a device, if AWS has one.
    pub(super) async fn execution_in_aws(
        &self,
        rollout: &Rollout,
        wave: u32,
        thing: &ThingName,
        reason: &str,
    ) -> Result<Option<Report>, Failure> {
        let answer = self
            .iot
            .describe_job_execution()
            .job_id(rollout.rollout_id.of_wave(wave))
            .thing_name(thing.as_str())
            .send()
            .await;
        let seen = found("iot:DescribeJobExecution", answer)?.and_then(|seen| seen.execution);
        Ok(seen.and_then(|seen| {
            let status = read_status(seen.status.as_ref()?.as_str())?;
            let number = u64::try_from(seen.execution_number.unwrap_or_default()).ok()?;
            let at = millis(seen.last_updated_at.as_ref());
            Some(Report::new(status, number, at, reason))
        }))
    }

    /// Hears what became of those that may have ended.
    pub(super) async fn hear_ends(
        &self,
        rollout: &Rollout,
        taking: &Taking,
        page: &[(Cursor, ThingName)],
    ) -> Result<(), Failure> {
        if taking.again == Again::default() {
            return Ok(());
        }
        let things = page.iter().map(|(_, thing)| thing);
        let rows = self.executions(&rollout.rollout_id, things).await?;
        let rows = rows.into_values().map(|row| row.execution);
        let doubtful =
            rows.filter(|row| row.may_have_ended(taking.wave, &taking.again, &rollout.spec));
        let looks = doubtful.map(async |row| {
            let (wave, thing) = (row.wave, &row.thing_name);
            let seen = self.execution_in_aws(rollout, wave, thing, "").await?;
            let heard = match seen {
                Some(report) => Heard::Report(wave, report),
                None => row.is_not_there(clock::now()),
            };
            Ok::<_, Failure>((row.thing_name, heard))
        });
        let looks = stream::iter(looks).buffer_unordered(CALLS);
        let heard: Vec<_> = looks.try_collect().await?;
        self.hear(rollout, heard).await
    }

    /// Cancels what has begun of waves that are over, from this one on, a page
    /// of executions at a time. The answer is the last wave in which nothing has
    /// begun any more; none while there may be more in this one.
    pub(super) async fn cancel_begun(
        &self,
        rollout: &Rollout,
        from: u32,
    ) -> Result<Option<u32>, Failure> {
        for wave in from..=rollout.waves {
            let counts: Option<Tally> = self
                .table
                .get(&Key::wave(&rollout.rollout_id, wave))
                .await?;
            if counts.is_none_or(|counts| counts.in_progress == 0) {
                continue;
            }
            if self.cancel_begun_of(rollout, wave).await? {
                return Ok((wave > from).then_some(wave - 1));
            }
        }
        Ok(Some(rollout.waves))
    }

    /// Whether something was cancelled.
    async fn cancel_begun_of(&self, rollout: &Rollout, wave: u32) -> Result<bool, Failure> {
        let answer = self
            .iot
            .list_job_executions_for_job()
            .job_id(rollout.rollout_id.of_wave(wave))
            .status(JobExecutionStatus::InProgress)
            .max_results(PAGE)
            .send()
            .await;
        let page = found("iot:ListJobExecutionsForJob", answer)?;
        let begun = page.and_then(|page| page.execution_summaries);
        let begun = begun.unwrap_or_default();
        let ends = begun
            .into_iter()
            .map(|row| self.cancel_one(rollout, wave, row));
        let ends = stream::iter(ends).buffer_unordered(CALLS);
        let heard: Vec<_> = ends.try_collect().await?;
        let heard: Vec<_> = heard.into_iter().flatten().collect();
        let any = !heard.is_empty();
        self.hear(rollout, heard).await?;
        Ok(any)
    }

    async fn cancel_one(
        &self,
        rollout: &Rollout,
        wave: u32,
        row: JobExecutionSummaryForJob,
    ) -> Result<Option<(ThingName, Heard)>, Failure> {
        let thing = ThingName::parse(name_in(row.thing_arn.as_deref()))?;
        let answer = self
            .iot
            .cancel_job_execution()
            .job_id(rollout.rollout_id.of_wave(wave))
            .thing_name(thing.as_str())
            .force(true)
            .send()
            .await;
        match answer {
            Ok(_) => {
                let number = row
                    .job_execution_summary
                    .and_then(|seen| seen.execution_number);
                let number = u64::try_from(number.unwrap_or_default()).unwrap_or_default();
                let report = Report::new(Status::Canceled, number, clock::now(), "");
                Ok(Some((thing, Heard::Report(wave, report))))
            }
            // It has ended meanwhile, or is gone.
            Err(error) if matches!(failure::cause(&error), Cause::NotFound | Cause::Conflict) => {
                Ok(None)
            }
            Err(error) => Err(failure::of("iot:CancelJobExecution", &error)),
        }
    }
}
