//! The messages of AWS IoT Jobs, as a device reads and writes them ("Jobs
//! device MQTT API operations", AWS IoT Core Developer Guide). Their topics are
//! `$aws/things/{thingName}/jobs/…`.

use lamplighter_domain::job::execution::{Offer, Progress, Update};
use lamplighter_domain::names::ThingName;
use serde_json::{Value, json};

/// How many of a device's subscriptions are for its jobs.
pub(in crate::reference) const SUBSCRIPTIONS: usize = 3;

/// What a device listens to for its jobs. AWS takes eight in one SUBSCRIBE, and
/// a rotation needs four; the last level is `accepted` or `rejected`.
pub(in crate::reference) fn subscriptions(thing: &ThingName) -> [String; SUBSCRIPTIONS] {
    ["notify-next", "+/get/+", "+/update/+"].map(|rest| topic(thing, rest))
}

/// What a device asks or says, until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Which execution is next. It does not begin by being asked for: one that
    /// the device refuses never counts as begun.
    Next,
    /// Whether the execution under way is still wanted.
    Mine,
    /// How far it is.
    Report(Update),
}

impl Ask {
    /// The topic and the message, with a token that comes back in the answer.
    pub(super) fn message(
        &self,
        thing: &ThingName,
        mine: Option<&Progress>,
        token: &str,
    ) -> Option<(String, Value)> {
        let job = mine.map(|progress| progress.job_id.as_str());
        let (job, verb, mut message) = match self {
            Self::Next => ("$next", "get", json!({})),
            Self::Mine => (
                job?,
                "get",
                json!({ "executionNumber": mine?.execution_number, "includeJobDocument": false }),
            ),
            Self::Report(update) => (job?, "update", json!(update)),
        };
        message["clientToken"] = token.into();
        Some((topic(thing, &format!("{job}/{verb}")), message))
    }
}

/// What AWS says.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// Another execution is next, or none.
    Next(Option<Offer>),
    /// What was asked or said is accepted.
    Accepted {
        /// The token that it was sent with.
        token: String,
        /// The execution that the answer carries, if it was asked for one.
        offer: Option<Offer>,
    },
    /// It is not.
    Rejected {
        /// The token that it was sent with.
        token: String,
        /// AWS's word for the reason.
        code: String,
        /// The same for people.
        message: String,
        /// As what AWS has the execution, where it says so.
        status: Option<String>,
    },
}

impl Told {
    /// Reads a message; `None` on a topic that is not the jobs'.
    pub(super) fn read(
        thing: &ThingName,
        on: &str,
        payload: &[u8],
    ) -> Option<Result<Self, String>> {
        let rest = on.strip_prefix(&topic(thing, ""))?;
        let levels: Vec<_> = rest.split('/').collect();
        let offer = || Offer::read(payload).map_err(|failure| failure.reason);
        let message =
            || serde_json::from_slice::<Value>(payload).map_err(|error| format!("{on}: {error}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match levels[..] {
            ["notify-next"] => Some(offer().map(Self::Next)),
            [_, verb @ ("get" | "update"), "accepted"] => Some(message().and_then(|message| {
                Ok(Self::Accepted {
                    token: text(&message["clientToken"]),
                    offer: if verb == "get" {
                        described(&message)?
                    } else {
                        None
                    },
                })
            })),
            [_, "get" | "update", "rejected"] => Some(message().map(|message| {
                Self::Rejected {
                    token: text(&message["clientToken"]),
                    code: text(&message["code"]),
                    message: text(&message["message"]),
                    status: message["executionState"]["status"]
                        .as_str()
                        .map(str::to_owned),
                }
            })),
            _ => None,
        }
    }
}

/// The execution of a `get/accepted`, if it comes with its document.
fn described(message: &Value) -> Result<Option<Offer>, String> {
    if message["execution"]["jobDocument"].is_null() {
        return Ok(None);
    }
    Offer::read(message.to_string().as_bytes()).map_err(|failure| failure.reason)
}

/// Whether a rejection says that it may be asked again later, and nothing more.
pub(super) fn passes(code: &str) -> bool {
    matches!(code, "RequestThrottled" | "InternalError")
}

fn topic(thing: &ThingName, rest: &str) -> String {
    format!("$aws/things/{thing}/jobs/{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::thing;

    fn read(on: &str, message: &Value) -> Option<Result<Told, String>> {
        let on = format!("$aws/things/x/jobs/{on}");
        Told::read(&thing("x"), &on, message.to_string().as_bytes())
    }

    fn execution(job: &str) -> Value {
        let step =
            json!({"action": {"name": "a", "type": "runHandler", "input": {"handler": "a.sh"}}});
        json!({"jobId": job, "status": "QUEUED", "executionNumber": 2,
            "jobDocument": {"version": "1.0", "steps": [step]}})
    }

    /// An execution that the device has taken up.
    fn offered() -> Progress {
        let rules = super::super::handlers::Rules {
            handlers: ["a.sh".to_owned()].into(),
            unfit: [].into(),
            folders: [].into(),
            users: [].into(),
        };
        let message = json!({"execution": execution("j")}).to_string();
        let offer = Offer::read(message.as_bytes());
        Progress::begin(offer.unwrap().unwrap(), &rules)
    }

    #[test]
    fn messages_of_aws_are_told_apart() {
        let offered = json!({"timestamp": 1, "clientToken": "t", "execution": execution("j")});
        let job = |told: Option<Result<Told, String>>| match told {
            Some(Ok(
                Told::Next(Some(offer))
                | Told::Accepted {
                    offer: Some(offer), ..
                },
            )) => offer.job_id,
            other => panic!("{other:?}"),
        };
        assert_eq!(job(read("notify-next", &offered)), "j");
        assert_eq!(job(read("$next/get/accepted", &offered)), "j");
        let idle = json!({"timestamp": 1, "clientToken": "t"});
        assert_eq!(read("notify-next", &idle), Some(Ok(Told::Next(None))));
        let accepted = |message: &Value| {
            Some(Ok(Told::Accepted {
                token: message["clientToken"].as_str().unwrap().to_owned(),
                offer: None,
            }))
        };
        assert_eq!(read("$next/get/accepted", &idle), accepted(&idle));
        assert_eq!(read("j/update/accepted", &offered), accepted(&offered));
        let rejected = json!({"clientToken": "t", "code": "InvalidStateTransition",
            "message": "over", "executionState": {"status": "CANCELED"}});
        let Some(Ok(Told::Rejected { code, status, .. })) = read("j/update/rejected", &rejected)
        else {
            panic!("{rejected}")
        };
        assert_eq!(
            (code.as_str(), status.as_deref()),
            ("InvalidStateTransition", Some("CANCELED"))
        );
        for other in [
            "notify",
            "start-next/accepted",
            "j/update",
            "j/delete/accepted",
            "",
        ] {
            assert_eq!(read(other, &idle), None, "{other}");
        }
        let elses = Told::read(&thing("y"), "$aws/things/x/jobs/notify-next", b"{}");
        assert_eq!(elses, None);
        assert!(read("notify-next", &json!([])).unwrap().is_err());
    }

    #[test]
    fn what_the_device_asks_names_its_execution() {
        let next = Ask::Next.message(&thing("x"), None, "t").unwrap();
        assert_eq!(next.0, "$aws/things/x/jobs/$next/get");
        assert_eq!(Ask::Mine.message(&thing("x"), None, "t"), None);
        let progress = offered();
        let (topic, message) = Ask::Mine
            .message(&thing("x"), Some(&progress), "t")
            .unwrap();
        assert_eq!(topic, "$aws/things/x/jobs/j/get");
        assert_eq!(message["executionNumber"], 2);
    }

    const DOCUMENT: &str = include_str!("../../../../docs/jobs-protocol.md");

    /// The examples that the document gives for a topic.
    fn examples(rest: &str) -> Vec<Value> {
        let heading = format!("### `$aws/things/{{thingName}}/jobs/{rest}`");
        let (_, after) = DOCUMENT.split_once(&heading).expect("a heading");
        let section = after.split("\n### ").next().unwrap();
        let blocks = section.split("```json\n").skip(1);
        let texts = blocks.map(|block| block.split("```").next().unwrap());
        texts
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect()
    }

    fn names(value: &Value) -> Vec<&String> {
        let mut names: Vec<_> = value.as_object().unwrap().keys().collect();
        names.sort();
        names
    }

    #[test]
    fn the_document_has_what_the_device_writes_and_reads() {
        let mine = offered();
        let update = Update {
            status: lamplighter_domain::job::execution::Status::Failed,
            status_details: [].into(),
            execution_number: 1,
        };
        for (rest, ask) in [
            ("$next/get", Ask::Next),
            ("{jobId}/get", Ask::Mine),
            ("{jobId}/update", Ask::Report(update)),
        ] {
            let (_, message) = ask.message(&thing("x"), Some(&mine), "t").unwrap();
            assert_eq!(names(&examples(rest)[0]), names(&message), "{rest}");
        }
        let answer = &examples("$next/get")[1];
        let Some(Ok(Told::Accepted {
            offer: Some(offer), ..
        })) = read("$next/get/accepted", answer)
        else {
            panic!("{answer}")
        };
        assert_eq!(offer.job_id, "firmware-2-1-0");
    }
}
