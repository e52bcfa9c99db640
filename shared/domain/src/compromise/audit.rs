//! What Device Defender's audits find, and what is done about it.
//!
//! An audit's end is announced by a summary over SNS ("Audit", "Notifications",
//! AWS IoT Device Defender Developer Guide); the findings themselves are read.

use serde::Deserialize;

use super::Verdict;
use crate::failure::Failure;

/// The summary of one audit, as far as it is of use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The audit.
    pub task_id: String,
    audit_details: Vec<Check>,
}

/// One check of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    check_name: String,
    #[serde(default)]
    non_compliant_resources_count: u64,
}

/// What is done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The device's certificate is renewed.
    Renew,
    /// The device's certificate is reported.
    Report(Verdict),
    /// An operator reads it in the log: no device is at fault.
    Tell,
}

impl Summary {
    /// Reads the message of a notification.
    ///
    /// # Errors
    /// `Invalid` if it is no summary.
    pub fn parse(message: &str) -> Result<Self, Failure> {
        serde_json::from_str(message).map_err(|error| {
            Failure::invalid(
                "message",
                format!("the notification is no summary of an audit: {error}"),
                "Let nothing but Device Defender's audits publish on the topic.",
            )
        })
    }

    /// The checks that found something, and what is done about it. One check
    /// that failed does not spoil the others.
    pub fn responses(&self) -> impl Iterator<Item = (&str, Response)> {
        self.audit_details
            .iter()
            .filter(|check| check.non_compliant_resources_count > 0)
            .filter_map(|check| Some((check.check_name.as_str(), response(&check.check_name)?)))
    }
}

/// What is done about the findings of a check; nothing where it is none of ours.
fn response(check: &str) -> Option<Response> {
    Some(match check {
        "DEVICE_CERTIFICATE_EXPIRING_CHECK" | "DEVICE_CERTIFICATE_AGE_CHECK" => Response::Renew,
        "DEVICE_CERTIFICATE_SHARED_CHECK" | "DEVICE_CERTIFICATE_KEY_QUALITY_CHECK" => {
            Response::Report(Verdict::Suspected)
        }
        "REVOKED_DEVICE_CERTIFICATE_STILL_ACTIVE_CHECK" => Response::Report(Verdict::Confirmed),
        // An authority is followed by another when an operator says so.
        "CA_CERTIFICATE_EXPIRING_CHECK"
        | "CA_CERTIFICATE_KEY_QUALITY_CHECK"
        | "REVOKED_CA_CERTIFICATE_STILL_ACTIVE_CHECK" => Response::Tell,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const EVENT: &str = include_str!("../../../../events/respond-to-compromise/audit.json");

    #[test]
    fn each_check_has_its_response() {
        for (check, wanted) in [
            ("DEVICE_CERTIFICATE_EXPIRING_CHECK", Some(Response::Renew)),
            ("DEVICE_CERTIFICATE_AGE_CHECK", Some(Response::Renew)),
            (
                "DEVICE_CERTIFICATE_SHARED_CHECK",
                Some(Response::Report(Verdict::Suspected)),
            ),
            (
                "DEVICE_CERTIFICATE_KEY_QUALITY_CHECK",
                Some(Response::Report(Verdict::Suspected)),
            ),
            (
                "REVOKED_DEVICE_CERTIFICATE_STILL_ACTIVE_CHECK",
                Some(Response::Report(Verdict::Confirmed)),
            ),
            ("CA_CERTIFICATE_EXPIRING_CHECK", Some(Response::Tell)),
            ("LOGGING_DISABLED_CHECK", None),
        ] {
            for (count, found) in [(0, false), (2, true)] {
                let summary = json!({"taskId": "t", "auditDetails": [
                    {"checkName": check, "nonCompliantResourcesCount": count}]});
                let summary = Summary::parse(&summary.to_string()).unwrap();
                let responses: Vec<_> = summary.responses().collect();
                let wanted = wanted.filter(|_| found).map(|wanted| (check, wanted));
                assert_eq!(responses, Vec::from_iter(wanted), "{check} {count}");
            }
        }
    }

    #[test]
    fn a_summary_as_device_defender_sends_it() {
        let event: Value = serde_json::from_str(EVENT).unwrap();
        let message = event["Records"][0]["Sns"]["Message"].as_str().unwrap();
        let summary = Summary::parse(message).unwrap();
        assert_eq!(summary.task_id, "4e2bcd1ccbc2a5dd15292a82ab80c380");
        assert_eq!(
            summary.responses().collect::<Vec<_>>(),
            [(
                "DEVICE_CERTIFICATE_SHARED_CHECK",
                Response::Report(Verdict::Suspected)
            )]
        );
        assert!(Summary::parse("{}").is_err());
        assert!(Summary::parse("hello").is_err());
    }
}
