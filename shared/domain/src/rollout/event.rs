//! What AWS IoT says of jobs on `$aws/events/jobExecution/…` and
//! `$aws/events/job/…` ("Jobs events", AWS IoT Core Developer Guide).

use serde::Deserialize;
use serde_json::Value;

use super::RolloutId;
use super::execution::{Heard, Report, Status};
use crate::failure::Failure;
use crate::fields;
use crate::names::ThingName;
use crate::time::Moment;

/// What an event says of one of our jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// A device's execution ended.
    Execution {
        /// The rollout.
        rollout_id: RolloutId,
        /// The device.
        thing_name: ThingName,
        /// What is to be heard of it, and the status, for
        /// [`Report::wants_number`].
        heard: Heard,
        /// How it ended.
        status: Status,
    },
    /// A job is over, or being cancelled or deleted: it is to be looked at.
    Job {
        /// The rollout.
        rollout_id: RolloutId,
        /// The wave.
        wave: u32,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "eventType")]
    kind: String,
    job_id: String,
    #[serde(default)]
    thing_arn: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    status_details: Option<Value>,
    /// In seconds.
    #[serde(default)]
    timestamp: u64,
}

impl JobEvent {
    /// Reads an event; nothing for jobs that are not ours, and for what says
    /// nothing of how an execution ended.
    ///
    /// # Errors
    /// `Invalid` for what is no event of jobs.
    pub fn read(event: Value) -> Result<Option<Self>, Failure> {
        let remedy = "Send what AWS IoT publishes on $aws/events/job….";
        let event: Event = fields::event(event, "no event of jobs", remedy)?;
        let Some((rollout_id, wave)) = RolloutId::wave_of(&event.job_id) else {
            return Ok(None);
        };
        if event.kind == "JOB" {
            return Ok(Some(Self::Job { rollout_id, wave }));
        }
        // An execution that is deleted says how it had ended, if it had.
        let Some(status) = event.status.as_deref().and_then(ended) else {
            return Ok(None);
        };
        let name = event
            .thing_arn
            .as_deref()
            .and_then(|arn| arn.rsplit('/').next());
        let thing_name = ThingName::parse(name.unwrap_or_default())?;
        let details = event.status_details.as_ref();
        let reason = details.and_then(|details| details.get("reason")?.as_str());
        let at = Moment(event.timestamp.saturating_mul(1000));
        let report = Report::new(status, 0, at, reason.unwrap_or_default());
        Ok(Some(Self::Execution {
            rollout_id,
            thing_name,
            heard: Heard::Report(wave, report),
            status,
        }))
    }
}

fn ended(status: &str) -> Option<Status> {
    let status: Status = serde_json::from_value(Value::from(status)).ok()?;
    status.ended().then_some(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(job: &str, status: &str) -> Value {
        json!({
            "eventType": "JOB_EXECUTION",
            "eventId": "cca89fa5-8a7f-4ced-8c20-5e653afb3572",
            "timestamp": 1_772_360_101,
            "operation": status.to_lowercase(),
            "jobId": job,
            "thingArn": "arn:aws:iot:eu-south-1:123456789012:thing/milan-navigli-01",
            "status": status,
            "statusDetails": {"reason": "step 1 of 4, Download: exit status 3", "step": "1"},
        })
    }

    #[test]
    fn events_of_our_jobs() {
        let id = RolloutId::from_key("a");
        let job = id.of_wave(3);
        let read = JobEvent::read(event(&job, "FAILED")).unwrap();
        let at = Moment(1_772_360_101_000);
        let report = Report::new(
            Status::Failed,
            1,
            at,
            "step 1 of 4, Download: exit status 3",
        );
        assert_eq!(
            read,
            Some(JobEvent::Execution {
                rollout_id: id.clone(),
                thing_name: ThingName::parse("milan-navigli-01").unwrap(),
                heard: Heard::Report(3, report),
                status: Status::Failed,
            })
        );
        for (status, known) in [
            ("SUCCEEDED", true),
            ("TIMED_OUT", true),
            ("REMOVED", true),
            ("CANCELED", true),
            ("REJECTED", true),
            ("IN_PROGRESS", false),
            ("DELETED", false),
            ("LOST", false),
        ] {
            let read = JobEvent::read(event(&job, status)).unwrap();
            assert_eq!(read.is_some(), known, "{status}");
        }
        let canceled = json!({"eventType": "JOB", "operation": "canceled", "jobId": job, "status": "CANCELED"});
        let read = JobEvent::read(canceled).unwrap();
        assert_eq!(
            read,
            Some(JobEvent::Job {
                rollout_id: id,
                wave: 3
            })
        );
    }

    #[test]
    fn what_is_not_ours_or_no_event() {
        assert_eq!(JobEvent::read(event("their-job", "FAILED")).unwrap(), None);
        for bad in [
            json!([]),
            json!({}),
            json!({"eventType": "JOB", "jobId": 7}),
        ] {
            assert!(JobEvent::read(bad.clone()).is_err(), "{bad}");
        }
        let mut nobody = event(&RolloutId::from_key("a").of_wave(1), "FAILED");
        nobody["thingArn"] = json!(null);
        assert!(JobEvent::read(nobody).is_err());
    }
}
