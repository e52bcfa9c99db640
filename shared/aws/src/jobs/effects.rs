//! What is done in AWS IoT: a wave's group and its one job.

use std::collections::BTreeSet;

use aws_sdk_iot::error::ProvideErrorMetadata;
use aws_sdk_iot::types::{
    ExponentialRolloutRate, Job, JobExecutionsRetryConfig, JobExecutionsRolloutConfig, JobStatus,
    PresignedUrlConfig, RateIncreaseCriteria, RetryCriteria, RetryableFailureType, TargetSelection,
    ThingGroupProperties, TimeoutConfig,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::execution::{Heard, Report, Status};
use lamplighter_domain::rollout::spec::Rate;
use lamplighter_domain::rollout::{Described, Force, JobPlan, Rollout, RolloutId, Standing};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

use super::Jobs;
use crate::describe::found;
use crate::failure::{self, Cause};

/// Why AWS would not have something of a wave.
pub(super) struct Refused(pub(super) String);

/// What came of joining a wave's group.
pub(super) enum Joined {
    Yes,
    NoThing,
    NoGroup,
    /// AWS would not have it there.
    Full(String),
}

/// A job as AWS describes it.
pub(super) struct Seen {
    pub(super) described: Described,
    /// Whether AWS is still telling devices, or cancelling their executions.
    pub(super) busy: bool,
}

/// AWS: the most executions in a page.
pub(super) const PAGE: i32 = 250;

impl Jobs {
    pub(super) async fn create_group(
        &self,
        name: &str,
        id: &RolloutId,
    ) -> Result<Result<(), Refused>, Failure> {
        let properties = ThingGroupProperties::builder()
            .thing_group_description(says_whose(id))
            .build();
        let answer = self
            .iot
            .create_thing_group()
            .thing_group_name(name)
            .thing_group_properties(properties)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Ok(())),
            Err(error) => refused("iot:CreateThingGroup", &error),
        }
    }

    pub(super) async fn join(&self, thing: &ThingName, group: &str) -> Result<Joined, Failure> {
        let answer = self
            .iot
            .add_thing_to_thing_group()
            .thing_name(thing.as_str())
            .thing_group_name(group)
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(Joined::Yes);
        };
        match failure::cause(&error) {
            // Which of the two is gone AWS says in words only.
            Cause::NotFound => {
                let seen = self.iot.describe_thing_group().thing_group_name(group);
                let seen = found("iot:DescribeThingGroup", seen.send().await)?;
                Ok(seen.map_or(Joined::NoGroup, |_| Joined::NoThing))
            }
            Cause::Refused | Cause::Conflict => {
                let said = error.as_service_error().and_then(|e| e.message());
                Ok(Joined::Full(format!(
                    "AWS would not have it in the wave's group: {}",
                    said.unwrap_or("no reason given")
                )))
            }
            _ => Err(failure::of("iot:AddThingToThingGroup", &error)),
        }
    }

    /// Creates a wave's job; one that is there already for its devices is this one.
    pub(super) async fn create_job(
        &self,
        rollout: &Rollout,
        plan: &JobPlan,
    ) -> Result<Result<(), Refused>, Failure> {
        let arn = |kind: &str, name: &str| format!("{}:{kind}/{name}", self.settings.arn_prefix);
        let targets = if let Some(group) = &plan.group {
            vec![arn("thinggroup", group)]
        } else {
            let wave = rollout.wave.as_ref();
            let wave = wave.ok_or_else(|| Failure::bug("a job without a wave"))?;
            let devices = self.devices_of(rollout, wave).await?;
            // Who was deleted since would have AWS refuse the job.
            let gone: BTreeSet<_> = self
                .gone(&rollout.spec, &devices)
                .await?
                .into_iter()
                .collect();
            let heard = gone.iter().map(|thing| (thing.clone(), Heard::Gone));
            self.hear(rollout, heard.collect::<Vec<_>>()).await?;
            let there = devices.iter().filter(|thing| !gone.contains(thing));
            there.map(|thing| arn("thing", thing.as_str())).collect()
        };
        if targets.is_empty() {
            // All have answered, perhaps, a job that was made before this.
            let made = self.in_aws(&plan.job_id).await?;
            let gone = || Refused("none of its devices is there any more".to_owned());
            return Ok(made.map(drop).ok_or_else(gone));
        }
        let order = self.order(&rollout.rollout_id).await?;
        let presigned = PresignedUrlConfig::builder()
            .role_arn(&self.settings.presign_role_arn)
            .expires_in_sec(plan.url_seconds.get().into())
            .build();
        let timeout = TimeoutConfig::builder()
            .in_progress_timeout_in_minutes(plan.in_progress_minutes.get().into())
            .build();
        let answer = self
            .iot
            .create_job()
            .job_id(&plan.job_id)
            .set_targets(Some(targets.clone()))
            .target_selection(TargetSelection::Snapshot)
            .description(format!("{}, by Lamplighter", order.template))
            .document(order.document)
            .presigned_url_config(presigned)
            .job_executions_rollout_config(rate(plan.rate)?)
            .set_job_executions_retry_config(retries(plan)?)
            .timeout_config(timeout)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Ok(())),
            Err(error) if failure::cause(&error) == Cause::Conflict => {
                self.is_for(&plan.job_id, &targets).await
            }
            Err(error) => refused("iot:CreateJob", &error),
        }
    }

    /// Whether the job that is there was made by an earlier attempt, and not by
    /// somebody else under its name. More may have been its targets then.
    async fn is_for(&self, job: &str, targets: &[String]) -> Result<Result<(), Refused>, Failure> {
        let made = self.in_aws(job).await?;
        let has = made.map(|job| job.targets.unwrap_or_default());
        Ok(match has {
            Some(has) if targets.iter().any(|target| !has.contains(target)) => {
                Err(Refused(format!("a job {job} of somebody else's is in AWS")))
            }
            // One that is gone already is found to be when it is looked at.
            _ => Ok(()),
        })
    }

    async fn in_aws(&self, job: &str) -> Result<Option<Job>, Failure> {
        let answer = self.iot.describe_job().job_id(job).send().await;
        Ok(found("iot:DescribeJob", answer)?.and_then(|answer| answer.job))
    }

    pub(super) async fn describe(&self, job: &str) -> Result<Seen, Failure> {
        let Some(job) = self.in_aws(job).await? else {
            return Ok(Seen {
                described: Described {
                    standing: Standing::Canceled,
                    ended: 0,
                },
                busy: false,
            });
        };
        let standing = match job.status {
            Some(JobStatus::Completed) => Standing::Completed,
            Some(JobStatus::Canceled | JobStatus::DeletionInProgress) => Standing::Canceled,
            _ => Standing::Open,
        };
        let ended = job.job_process_details.map_or(0, |counts| {
            let all = [
                counts.number_of_succeeded_things,
                counts.number_of_failed_things,
                counts.number_of_canceled_things,
                counts.number_of_rejected_things,
                counts.number_of_removed_things,
                counts.number_of_timed_out_things,
            ];
            let sum: i32 = all.into_iter().flatten().sum();
            u64::try_from(sum).unwrap_or_default()
        });
        Ok(Seen {
            described: Described { standing, ended },
            busy: job.is_concurrent.unwrap_or_default(),
        })
    }

    /// Asks AWS to cancel; what is over meanwhile needs no cancelling.
    pub(super) async fn cancel(&self, job: &str, Force(force): Force) -> Result<(), Failure> {
        let answer = self
            .iot
            .cancel_job()
            .job_id(job)
            .reason_code("WAVE_ENDED")
            .comment("Lamplighter ended the wave")
            .force(force)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match failure::cause(&error) {
                Cause::NotFound | Cause::Refused | Cause::Conflict => Ok(()),
                _ => Err(failure::of("iot:CancelJob", &error)),
            },
        }
    }

    /// Removes a wave's group; one of somebody else's of its name stays.
    pub(super) async fn remove_group(&self, name: &str, id: &RolloutId) -> Result<(), Failure> {
        let seen = self.iot.describe_thing_group().thing_group_name(name);
        let seen = found("iot:DescribeThingGroup", seen.send().await)?;
        let properties = seen.and_then(|seen| seen.thing_group_properties);
        let description = properties.and_then(|has| has.thing_group_description);
        if description != Some(says_whose(id)) {
            return Ok(());
        }
        let answer = self.iot.delete_thing_group().thing_group_name(name);
        found("iot:DeleteThingGroup", answer.send().await).map(drop)
    }

    /// Reads a page of a job's executions, and the shadows of those who say
    /// they are done, and has all heard. The answer is the next page's token.
    ///
    /// # Errors
    /// `Invalid` for a token that AWS has given for something else, or long ago.
    pub(super) async fn read_executions(
        &self,
        rollout: &Rollout,
        job: &str,
        token: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let Some((_, wave)) = RolloutId::wave_of(job) else {
            return Err(Failure::bug(format!("{job} is no wave's job")));
        };
        let answer = self
            .iot
            .list_job_executions_for_job()
            .job_id(job)
            .max_results(PAGE)
            .set_next_token(token)
            .send()
            .await;
        let page = match answer {
            Ok(page) => page,
            // Somebody has deleted it.
            Err(error) if failure::cause(&error) == Cause::NotFound => return Ok(None),
            Err(error) => return Err(failure::of("iot:ListJobExecutionsForJob", &error)),
        };
        let (mut heard, mut done) = (Vec::new(), Vec::new());
        for row in page.execution_summaries.unwrap_or_default() {
            let Some(summary) = row.job_execution_summary else {
                continue;
            };
            let thing = ThingName::parse(name_in(row.thing_arn.as_deref()))?;
            let Some(status) = summary
                .status
                .and_then(|status| read_status(status.as_str()))
            else {
                continue;
            };
            if status == Status::Succeeded && rollout.spec.confirms.is_some() {
                done.push(thing.clone());
            }
            let number = summary.execution_number.unwrap_or_default();
            let number = u64::try_from(number).unwrap_or_default();
            let at = millis(summary.last_updated_at.as_ref());
            let report = Report::new(status, number, at, "");
            heard.push((thing, Heard::Report(wave, report)));
        }
        heard.extend(self.firmwares(&done).await?);
        self.hear(rollout, heard).await?;
        Ok(page.next_token)
    }
}

/// What a wave's group says of itself.
fn says_whose(id: &RolloutId) -> String {
    format!("A wave of {}", id.as_str())
}

/// The name at an ARN's end.
pub(super) fn name_in(arn: Option<&str>) -> &str {
    let name = arn.and_then(|arn| arn.rsplit('/').next());
    name.unwrap_or_default()
}

pub(super) fn millis(at: Option<&DateTime>) -> Moment {
    let millis = at.and_then(|at| at.to_millis().ok());
    Moment(
        millis
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or_default(),
    )
}

pub(super) fn read_status(status: &str) -> Option<Status> {
    serde_json::from_value(status.into()).ok()
}

fn rate(rate: Rate) -> Result<JobExecutionsRolloutConfig, Failure> {
    let most = i32::try_from(rate.per_minute.get()).unwrap_or(i32::MAX);
    let config = JobExecutionsRolloutConfig::builder().maximum_per_minute(most);
    let Some(growing) = rate.growing else {
        return Ok(config.build());
    };
    let notified = i32::try_from(growing.after_notified).unwrap_or(i32::MAX);
    let exponential = ExponentialRolloutRate::builder()
        .base_rate_per_minute(i32::try_from(growing.from.get()).unwrap_or(i32::MAX))
        .increment_factor(f64::from(growing.factor.get()) / 10.0)
        .rate_increase_criteria(
            RateIncreaseCriteria::builder()
                .number_of_notified_things(notified)
                .build(),
        )
        .build()
        .map_err(|error| Failure::bug(format!("a rate: {error}")))?;
    Ok(config.exponential_rate(exponential).build())
}

fn retries(plan: &JobPlan) -> Result<Option<JobExecutionsRetryConfig>, Failure> {
    let times = plan.retries.get();
    if times == 0 {
        return Ok(None);
    }
    let incomplete = |error| Failure::bug(format!("retries: {error}"));
    let criteria = RetryCriteria::builder()
        .failure_type(RetryableFailureType::All)
        .number_of_retries(times.into())
        .build()
        .map_err(incomplete)?;
    let config = JobExecutionsRetryConfig::builder().criteria_list(criteria);
    config.build().map(Some).map_err(incomplete)
}

/// What AWS will not have is told to the operator; what may pass by itself is
/// tried again.
fn refused<E>(api: &str, error: &SdkError<E, HttpResponse>) -> Result<Result<(), Refused>, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = failure::of(api, error);
    if matches!(failure.kind, Kind::Busy | Kind::Unknown) {
        return Err(failure);
    }
    crate::telemetry::failed(&failure);
    let said = error.as_service_error().and_then(|error| error.message());
    let why = match said.filter(|_| failure.kind != Kind::Denied) {
        Some(said) => format!("{api}: {said}"),
        None => failure.reason,
    };
    Ok(Err(Refused(why)))
}
