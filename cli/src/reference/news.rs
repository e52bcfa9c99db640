//! What a device tells those who watch it: one line for each thing that
//! happened.

use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::time::Moment;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::output;

/// Where the lines go.
pub(crate) type Wire = UnboundedSender<Line>;

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    /// When it happened.
    pub(crate) at: Moment,
    /// To which device.
    pub(crate) thing_name: ThingName,
    /// What happened.
    #[serde(flatten)]
    pub(crate) news: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum News {
    /// Connected, with this certificate.
    Connected { certificate_id: CertificateId },
    /// The connection ended, or none came about; another is tried.
    Disconnected {
        reason: String,
        again_in_millis: u64,
    },
    /// The broker refused this certificate.
    Refused {
        certificate_id: CertificateId,
        reason: String,
    },
    /// Told that a new certificate is due.
    Renew {
        rotation_id: OperationId,
        deadline: Option<Moment>,
        reason: Option<String>,
    },
    /// Sent a signing request.
    Requested { rotation_id: OperationId },
    /// Was given a certificate, and stored it beside the one in use.
    Accepted {
        rotation_id: OperationId,
        certificate_id: CertificateId,
    },
    /// Found a pair that its operator was handed out, and stored it beside the
    /// one in use.
    HandedOut {
        rotation_id: OperationId,
        certificate_id: CertificateId,
    },
    /// Connected with the new certificate and made it the current one.
    Promoted { certificate_id: CertificateId },
    /// Sent the proof.
    Proved { rotation_id: OperationId },
    /// Told that the old certificate is out of force, and removed it.
    Retired {
        rotation_id: OperationId,
        certificate_id: CertificateId,
    },
    /// Told that a rotation comes to nothing.
    Rejected {
        rotation_id: OperationId,
        code: Option<String>,
        reason: Option<String>,
        remedy: Option<String>,
    },
    /// Was offered a job's execution.
    JobOffered { job_id: String, execution: u64 },
    /// Begins a step of a job: its handler, and for which time.
    JobStep {
        job_id: String,
        handler: String,
        run: String,
    },
    /// Has brought a job to its end, and AWS knows.
    JobEnded {
        job_id: String,
        status: &'static str,
        reason: Option<String>,
    },
    /// A job's execution is not wanted any more.
    JobOver { job_id: String, reason: String },
    /// Starts anew, since a handler wants it.
    Restarting,
    /// A tunnel to these services is open.
    Tunnel { services: Vec<String> },
    /// Somebody connects to a service, through a tunnel.
    TunnelStream { service: String },
    /// A tunnel is open no more.
    TunnelEnded { reason: String },
    /// Something that should not be.
    Warned { reason: String },
    /// The device has stopped for good.
    Failed { reason: String },
}

impl Line {
    /// For a program.
    pub(crate) fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// For a person: when, who, what, and what more there is to it.
    pub(crate) fn text(&self) -> String {
        let mut document = self.document();
        let Some(fields) = document.as_object_mut() else {
            return String::new();
        };
        fields.remove("at");
        let [thing, event] = ["thingName", "event"].map(|name| {
            let value = fields.remove(name).unwrap_or_default();
            output::plain(&value)
        });
        let at = self.at.rfc3339();
        let details =
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| match (name.as_str(), value.as_u64()) {
                    ("certificateId", _) => {
                        format!("{name}={}", output::short(&output::plain(value)))
                    }
                    ("deadline", Some(at)) => format!("{name}={}", Moment(at).rfc3339()),
                    _ => format!("{name}={}", output::plain(value)),
                });
        let details: Vec<_> = details.collect();
        format!("{at} {thing} {event:<12} {}", details.join("  "))
            .trim_end()
            .to_owned()
    }

    /// Whether a person who watches many devices wants to read it.
    pub(crate) fn is_trouble(&self) -> bool {
        matches!(
            self.news,
            News::Refused { .. }
                | News::Rejected { .. }
                | News::Warned { .. }
                | News::Failed { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::thing;

    #[test]
    fn programs_and_people_read_the_same_news() {
        let line = Line {
            at: Moment(1000),
            thing_name: thing("a"),
            news: News::Rejected {
                rotation_id: OperationId::from_random([0; 16]),
                code: Some("Denied".to_owned()),
                reason: None,
                remedy: Some("Wait for the next renew message.".to_owned()),
            },
        };
        let document = line.document();
        assert_eq!(document["event"], "rejected");
        assert_eq!(document["at"], 1000);
        assert_eq!(document["thingName"], "a");
        assert_eq!(document["rotationId"], format!("op-{}", "0".repeat(32)));
        let text = line.text();
        assert!(
            text.starts_with("1970-01-01T00:00:01Z a rejected     "),
            "{text}"
        );
        assert!(text.contains("code=Denied"), "{text}");
        assert!(!text.contains("reason="), "{text}");
        let id = CertificateId::of_der(b"");
        let connected = News::Connected {
            certificate_id: id.clone(),
        };
        let line = Line {
            news: connected,
            ..line
        };
        assert!(!line.text().contains(id.as_str()), "{}", line.text());
        assert_eq!(line.document()["certificateId"], id.as_str());
    }
}
