//! What AWS IoT says of jobs and things, and the bus of dynamic groups, as rules
//! put it into a queue.

use std::collections::BTreeMap;

use lamplighter_domain::Failure;
use lamplighter_domain::names::{GroupName, JobTemplateName, ThingName};
use lamplighter_domain::rollout::event::JobEvent;
use lamplighter_domain::rollout::execution::{Heard, Report, Status};
use lamplighter_domain::rollout::{Rollout, RolloutId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Jobs;
use crate::{clock, job_views, telemetry};

/// What SQS hands to a function ("Using Lambda with Amazon SQS").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch {
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    body: String,
}

/// Which messages have to be delivered again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    batch_item_failures: Vec<Failed>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    item_identifier: String,
}

/// What a message says.
#[derive(Debug)]
enum News {
    /// Of one device of one job.
    Device(RolloutId, ThingName, Heard, Status),
    /// That a wave's job is to be looked at.
    Job(RolloutId, u32),
    /// That a thing is no more.
    Gone(ThingName),
    /// What a shadow reports, in this version.
    Firmware(ThingName, String, u64),
    /// That a thing has joined a static group.
    Joined(GroupName, ThingName),
    /// That a device has entered a dynamic group, and whether that has a job for
    /// it.
    Entered(GroupName, ThingName, bool),
    /// Nothing of ours.
    Nothing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfThing {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    thing_name: Option<String>,
    #[serde(default)]
    thing_arn: Option<String>,
    #[serde(default)]
    group_arn: Option<String>,
    #[serde(default)]
    firmware: Option<String>,
    #[serde(default)]
    shadow_version: u64,
}

/// `GroupEntered`, as the bus has it.
#[derive(Debug, Deserialize)]
struct OfBus {
    detail: Entered,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entered {
    group: GroupName,
    thing_name: ThingName,
    #[serde(default)]
    job: Option<JobTemplateName>,
}

impl Jobs {
    /// Takes a batch of messages in. What no retry can help is logged and
    /// done; the others are delivered again.
    pub async fn receive(&self, batch: Batch) -> Failures {
        let mut failures = Failures::default();
        let mut of_jobs: BTreeMap<String, (RolloutId, Vec<String>, Vec<News>)> = BTreeMap::new();
        let mut of_things = Vec::new();
        for Record { message_id, body } in batch.records {
            let news = match read(&body) {
                Ok(news) => news,
                Err(failure) => {
                    telemetry::failed(&failure);
                    continue;
                }
            };
            // What is said of one job is written at once, and so is what concerns all.
            match news {
                News::Device(ref id, ..) | News::Job(ref id, _) => {
                    let entry = of_jobs.entry(id.as_str().to_owned());
                    let (_, messages, all) = entry.or_insert((id.clone(), Vec::new(), Vec::new()));
                    messages.push(message_id);
                    all.push(news);
                }
                News::Gone(thing) => of_things.push((message_id, (thing, Heard::Gone))),
                News::Firmware(thing, firmware, version) => {
                    let heard = Heard::Firmware(firmware, version);
                    of_things.push((message_id, (thing, heard)));
                }
                News::Joined(group, thing) => {
                    let heard = self.joined_group(&group, &thing).await;
                    failures.note(heard, [message_id]);
                }
                News::Entered(group, thing, job) => {
                    let heard = self.entered_group(&group, &thing, job).await;
                    failures.note(heard, [message_id]);
                }
                News::Nothing => {}
            }
        }
        let (messages, heard): (Vec<_>, Vec<_>) = of_things.into_iter().unzip();
        failures.note(self.of_things(&heard).await, messages);
        for (id, messages, news) in of_jobs.into_values() {
            let heard = self.of_job(&id, news).await;
            failures.note(heard, messages);
        }
        failures
    }

    async fn of_job(&self, id: &RolloutId, news: Vec<News>) -> Result<(), Failure> {
        // Of a job of another stack in this account, perhaps.
        let Some(kept) = job_views::kept(&self.table, id).await? else {
            return Ok(());
        };
        let rollout = &kept.rollout;
        let (mut heard, mut done, mut looks) = (Vec::new(), Vec::new(), Vec::new());
        for one in news {
            match one {
                News::Device(_, thing, said, status) => {
                    let said = self.numbered(rollout, &thing, said, status).await?;
                    if status == Status::Succeeded && rollout.spec.confirms.is_some() {
                        done.push(thing.clone());
                    }
                    heard.extend(said.map(|said| (thing, said)));
                }
                News::Job(_, wave) => looks.push(wave),
                _ => {}
            }
        }
        heard.extend(self.firmwares(&done).await?);
        self.hear(rollout, heard).await?;
        self.look_and_wake(id, &looks).await
    }

    async fn look_and_wake(&self, id: &RolloutId, looks: &[u32]) -> Result<(), Failure> {
        let kept = self
            .change(id, |mut kept| {
                for wave in looks {
                    kept.rollout = kept.rollout.look_at_job(*wave, clock::now());
                }
                Ok(kept)
            })
            .await?;
        self.wake_if_due(&kept).await
    }

    /// Where AWS may try again, which of an execution's attempts it was.
    async fn numbered(
        &self,
        rollout: &Rollout,
        thing: &ThingName,
        heard: Heard,
        status: Status,
    ) -> Result<Option<Heard>, Failure> {
        let Heard::Report(wave, said) = &heard else {
            return Ok(Some(heard));
        };
        if !Report::wants_number(status, rollout.spec.retries) {
            return Ok(Some(heard));
        }
        let reason = said.reason();
        let seen = self.execution_in_aws(rollout, *wave, thing, reason).await?;
        Ok(seen.map(|seen| Heard::Report(*wave, seen)))
    }

    /// Has each job that may have these things hear of them.
    async fn of_things(&self, heard: &[(ThingName, Heard)]) -> Result<(), Failure> {
        if heard.is_empty() {
            return Ok(());
        }
        for rollout in self.open_jobs().await? {
            let confirms = rollout.spec.confirms.is_some();
            let of_it = heard
                .iter()
                .filter(|(_, heard)| confirms || *heard == Heard::Gone);
            let of_it: Vec<_> = of_it.cloned().collect();
            if !of_it.is_empty() {
                self.hear(&rollout, of_it).await?;
                self.look_and_wake(&rollout.rollout_id, &[]).await?;
            }
        }
        Ok(())
    }
}

impl Failures {
    fn note(&mut self, heard: Result<(), Failure>, messages: impl IntoIterator<Item = String>) {
        let Err(failure) = heard else {
            return;
        };
        telemetry::failed(&failure);
        if failure.kind.retryable() {
            let failed = messages
                .into_iter()
                .map(|item_identifier| Failed { item_identifier });
            self.batch_item_failures.extend(failed);
        }
    }
}

fn read(body: &str) -> Result<News, Failure> {
    let unreadable = |why: serde_json::Error| {
        Failure::invalid(
            "event",
            format!("the message does not parse: {why}"),
            "Send what the template's rules send.",
        )
    };
    let event: Value = serde_json::from_str(body).map_err(unreadable)?;
    if event["detail-type"] == "GroupEntered" {
        let OfBus { detail } = serde_json::from_value(event).map_err(unreadable)?;
        let has_job = detail.job.is_some();
        return Ok(News::Entered(detail.group, detail.thing_name, has_job));
    }
    let of_thing: OfThing = serde_json::from_value(event.clone()).unwrap_or_default();
    let last = |arn: &Option<String>| {
        let name = arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        name.unwrap_or_default().to_owned()
    };
    match (of_thing.event_type.as_str(), of_thing.operation.as_str()) {
        ("JOB" | "JOB_EXECUTION", _) => Ok(match JobEvent::read(event)? {
            Some(JobEvent::Execution {
                rollout_id,
                thing_name,
                heard,
                status,
            }) => News::Device(rollout_id, thing_name, heard, status),
            Some(JobEvent::Job { rollout_id, wave }) => News::Job(rollout_id, wave),
            None => News::Nothing,
        }),
        ("THING_EVENT", "DELETED") => {
            let name = of_thing.thing_name.unwrap_or_default();
            Ok(News::Gone(ThingName::parse(&name)?))
        }
        ("THING_GROUP_MEMBERSHIP_EVENT", "ADDED") => {
            let group = GroupName::parse(&last(&of_thing.group_arn))?;
            Ok(News::Joined(
                group,
                ThingName::parse(&last(&of_thing.thing_arn))?,
            ))
        }
        _ => match (of_thing.thing_name, of_thing.firmware) {
            (Some(thing), Some(firmware)) => {
                let thing = ThingName::parse(&thing)?;
                Ok(News::Firmware(thing, firmware, of_thing.shadow_version))
            }
            _ => Ok(News::Nothing),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: &str = include_str!("../../../../events/dispatch-job/news.json");

    #[test]
    fn each_message_of_the_rules_is_read() {
        let batch: Batch = serde_json::from_str(NEWS).unwrap();
        let all: Vec<_> = batch
            .records
            .iter()
            .map(|r| read(&r.body).unwrap())
            .collect();
        let [
            News::Device(id, _, Heard::Report(1, _), Status::Failed),
            News::Job(same, 1),
            News::Gone(gone),
            News::Joined(group, joined),
            News::Firmware(_, firmware, 7),
            News::Entered(entered, new, true),
        ] = &all[..]
        else {
            panic!("{all:?}");
        };
        assert_eq!(id, same);
        assert_eq!(gone.as_str(), "milan-navigli-02");
        assert_eq!(
            (group.as_str(), joined.as_str()),
            ("milan", "milan-navigli-03")
        );
        assert_eq!(firmware, "2.4.0");
        assert_eq!(
            (entered.as_str(), new.as_str()),
            ("outdated-firmware", "milan-navigli-05")
        );
    }

    #[test]
    fn what_is_none_of_ours_is_nothing_and_what_is_broken_is_refused() {
        for nothing in [
            r"{}",
            r#"{"eventType": "THING_EVENT", "operation": "UPDATED", "thingName": "x"}"#,
            r#"{"eventType": "JOB", "jobId": "theirs", "status": "CANCELED"}"#,
            r#"{"thingName": "x", "firmware": null}"#,
        ] {
            assert!(matches!(read(nothing), Ok(News::Nothing)), "{nothing}");
        }
        for broken in [
            "",
            r#"{"eventType": "THING_EVENT", "operation": "DELETED"}"#,
            r#"{"eventType": "THING_GROUP_MEMBERSHIP_EVENT", "operation": "ADDED"}"#,
            r#"{"eventType": "JOB"}"#,
            r#"{"detail-type": "GroupEntered", "detail": {"group": "milan"}}"#,
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
