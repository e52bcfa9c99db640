//! A device's jobs as people see them: what `GET /devices/{thingName}/jobs`
//! answers.

use serde::Serialize;

use super::Rollout;
use super::execution::{Class, Execution};
use crate::names::JobTemplateName;

/// What became of one job on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfDevice {
    job_id: String,
    template: JobTemplateName,
    status: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Which wave has, or had, the device, and how many have had it.
    wave: u32,
    tries: u32,
    /// The wave's job in AWS.
    wave_job_id: String,
    /// When the device, or AWS for it, was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at: Option<String>,
    started_at: String,
}

/// How a job stands on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Standing {
    Counted(Class),
    Silent(Silent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Silent {
    /// Its wave has ended, and it never answered.
    Unreached,
}

impl OfDevice {
    /// A device's row of a rollout, as it is shown.
    pub fn new(rollout: &Rollout, template: JobTemplateName, row: &Execution) -> Self {
        let open = rollout.wave.as_ref();
        let open = open.is_some_and(|wave| wave.number == row.wave);
        let status = match row.class(&rollout.spec) {
            Class::Queued | Class::InProgress | Class::Canceled if !open => {
                Standing::Silent(Silent::Unreached)
            }
            class => Standing::Counted(class),
        };
        let report = row.report.as_ref();
        let reason = report.map(|report| report.reason().to_owned());
        Self {
            job_id: rollout.rollout_id.as_str().to_owned(),
            template,
            status,
            reason: reason.filter(|reason| !reason.is_empty()),
            wave: row.wave,
            tries: row.tries,
            wave_job_id: rollout.rollout_id.of_wave(row.wave),
            reported_at: report.map(|report| report.at().rfc3339()),
            started_at: rollout.started_at.rfc3339(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::execution::{Report, Status};
    use super::super::spec::Spec;
    use super::super::wave::Wave;
    use super::super::{Phase, RolloutId};
    use super::*;
    use crate::names::ThingName;
    use crate::time::Moment;

    fn shown(open: u32, report: Option<(Status, &str)>) -> Value {
        let spec = Spec::read("", json!({"waves": [1]})).unwrap();
        let mut rollout = Rollout::start(RolloutId::from_key("a"), spec, Moment(0));
        rollout.phase = Phase::Running;
        rollout.wave = Some(Wave::new(open, 1, None));
        let row = Execution {
            report: report.map(|(status, reason)| Report::new(status, 1, Moment(9), reason)),
            ..Execution::new(&ThingName::parse("light-1").unwrap(), 2, 1)
        };
        let template = JobTemplateName::parse("blink").unwrap();
        json!(OfDevice::new(&rollout, template, &row))
    }

    #[test]
    fn a_job_stands_as_it_was_counted_or_nobody_answered() {
        use Status::{Canceled, Failed, InProgress, Queued, Succeeded};
        for (open, report, status) in [
            (2, None, "QUEUED"),
            (3, None, "UNREACHED"),
            (2, Some(Queued), "QUEUED"),
            (2, Some(InProgress), "IN_PROGRESS"),
            (3, Some(InProgress), "UNREACHED"),
            (3, Some(Canceled), "UNREACHED"),
            (2, Some(Canceled), "CANCELED"),
            (3, Some(Succeeded), "SUCCEEDED"),
            (3, Some(Failed), "FAILED"),
        ] {
            let seen = shown(open, report.map(|status| (status, "")));
            assert_eq!(seen["status"], status, "{open} {report:?}");
            assert!(seen.get("reason").is_none(), "{seen}");
        }
        let seen = shown(2, Some((Failed, "no space")));
        assert_eq!(seen["reason"], "no space");
        assert_eq!(seen["reportedAt"], "1970-01-01T00:00:00Z", "{seen}");
        assert_eq!(
            seen["waveJobId"],
            format!("{}-w2", seen["jobId"].as_str().unwrap())
        );
    }
}
