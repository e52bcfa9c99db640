//! A rotation from its first event to its end, undisturbed or struck.

use serde_json::{Value, json};

use crate::cloud::{Cloud, Reply};
use crate::device::trace;
use crate::faults::{self, Point};
use crate::inventory::{describe, principals};

use super::{Event, Light, delivered, invoke};

/// The events of a rotation, each with what happens before it.
#[derive(Debug)]
pub struct Course {
    /// What it is called.
    pub name: &'static str,
    /// Whether the device's first key is in custody.
    in_custody: bool,
    /// The first event that is struck; those before are another course's too.
    from: usize,
    events: &'static [(Event, Before)],
    phase: &'static str,
}

/// What happens before an event.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// A moment of the rotation's row is reached.
    Reached(&'static str),
    /// An operator would have it go by a hand-out.
    ByHandOut,
    /// The same, and it is too late.
    ByHandOutTooLate,
    /// A job is to carry its word.
    ByJob,
}

impl Before {
    async fn happen(self, cloud: &Cloud, light: &Light) {
        match self {
            Self::Nothing => {}
            Self::Reached(moment) => light.pass(cloud, Some(moment)).await,
            Self::ByHandOut => light.by_hand_out(cloud).await,
            Self::ByJob => light.by_job(cloud).await,
            Self::ByHandOutTooLate => {
                light.by_hand_out(cloud).await;
                light.pass(cloud, Some("deadline")).await;
            }
        }
    }
}

/// The device proves its new certificate.
pub const RENEWED: Course = Course {
    name: "renewed",
    in_custody: false,
    from: 0,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Request, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Proof, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Step, Before::Reached("removeAt")),
    ],
    phase: "DONE",
};

/// The device does not.
pub const ROLLED_BACK: Course = Course {
    name: "rolled back",
    in_custody: false,
    from: 3,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Request, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Step, Before::Reached("deadline")),
    ],
    phase: "ROLLED_BACK",
};

/// A key is made for the device, which proves it; its first one goes too.
pub const HANDED_OUT: Course = Course {
    name: "renewed by a hand-out",
    in_custody: true,
    from: 1,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Step, Before::ByHandOut),
        (Event::Proof, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Step, Before::Reached("removeAt")),
    ],
    phase: "DONE",
};

/// Nobody brings it to the device.
pub const HANDED_OUT_IN_VAIN: Course = Course {
    name: "a hand-out rolled back",
    in_custody: true,
    from: 2,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Step, Before::ByHandOut),
        (Event::Step, Before::Reached("deadline")),
    ],
    phase: "ROLLED_BACK",
};

/// It is over before the key is made.
pub const HANDED_OUT_TOO_LATE: Course = Course {
    name: "a hand-out too late",
    in_custody: true,
    from: 1,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Step, Before::ByHandOutTooLate),
    ],
    phase: "ROLLED_BACK",
};

/// A job carries the word; the device proves its new certificate.
pub const RENEWED_BY_JOB: Course = Course {
    name: "renewed by a job",
    in_custody: false,
    from: 1,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Step, Before::ByJob),
        (Event::Request, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Proof, Before::Nothing),
        (Event::Step, Before::Nothing),
        (Event::Step, Before::Reached("removeAt")),
    ],
    phase: "DONE",
};

/// A job carries the word, and nobody answers.
pub const JOB_IN_VAIN: Course = Course {
    name: "a job in vain",
    in_custody: false,
    from: 2,
    events: &[
        (Event::Step, Before::Nothing),
        (Event::Step, Before::ByJob),
        (Event::Step, Before::Reached("deadline")),
    ],
    phase: "ROLLED_BACK",
};

/// How calls are struck: as the fault layer names it, and how often in a row.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// The fault layer's name.
    pub name: &'static str,
    /// One answer that is bad, or each one until the SDK gives up.
    pub times: u64,
}

/// The calls to strike in one run: at most one in each event.
#[derive(Clone, Debug)]
pub struct Round(Vec<Option<Point>>);

/// An undisturbed run.
#[derive(Debug)]
pub struct Recorded {
    /// The device.
    pub light: Light,
    /// How many calls it took.
    pub calls: usize,
    /// In which every call is struck once.
    pub rounds: Vec<Round>,
}

impl Course {
    /// A device that can go through it.
    pub async fn light(&self, cloud: &Cloud) -> Light {
        if self.in_custody {
            Light::in_custody(cloud).await
        } else {
            Light::new(cloud).await
        }
    }

    /// An undisturbed run, and the rounds in which every call of it is struck
    /// once. An event is over before the next one comes, so that one run serves
    /// for a call of each.
    pub async fn record(&self, cloud: &Cloud) -> Recorded {
        let light = self.light(cloud).await;
        let (mut calls, mut struck) = (0, Vec::new());
        for (index, (event, before)) in self.events.iter().enumerate() {
            before.happen(cloud, &light).await;
            let trace = trace();
            let payload = light.event(cloud, *event).await;
            let reply = invoke(cloud, &payload, Some(&trace)).await;
            let failed = reply.json()["errorType"].is_string();
            assert!(reply.status == 200 && !failed, "{event:?}: {}", reply.text);
            let made = faults::points(cloud, &trace).await;
            assert!(!made.is_empty(), "event {index} makes no call");
            light.unhurried(cloud).await;
            calls += counted(&made);
            struck.push(if index < self.from { Vec::new() } else { made });
        }
        assert_eq!(light.phase(cloud).await, self.phase);
        let most = struck.iter().map(Vec::len).max().unwrap_or_default();
        let rounds = (0..most)
            .map(|nth| Round(struck.iter().map(|made| made.get(nth).cloned()).collect()))
            .collect();
        Recorded {
            light,
            calls,
            rounds,
        }
    }

    /// Runs it with the round's calls struck; answers how many calls were made.
    /// A struck delivery comes again until it is taken.
    ///
    /// # Errors
    /// What is not as it must be.
    pub async fn run(
        &self,
        cloud: &Cloud,
        light: &Light,
        round: &Round,
        mode: Mode,
    ) -> Result<usize, String> {
        let mut calls = 0;
        for ((event, before), point) in self.events.iter().zip(&round.0) {
            before.happen(cloud, light).await;
            // All invocations are over, whether or not each could say so.
            light.pass(cloud, Some("leaseUntil")).await;
            let payload = light.event(cloud, *event).await;
            let trace = trace();
            let reply = match point {
                Some(point) => {
                    self.strike(cloud, light, &payload, &trace, point, mode)
                        .await?
                }
                None => invoke(cloud, &payload, Some(&trace)).await,
            };
            let mut answer = reply.json();
            if reply.status != 200 || answer["errorType"].is_string() {
                // Whoever held the lease is dead, if it was killed, or gave it back.
                light.pass(cloud, Some("leaseUntil")).await;
                answer = delivered(cloud, &payload, Some(&trace)).await;
            }
            // It had no time left for all of its work.
            while answer == json!({"status": "SLEEP", "seconds": 1}) {
                answer = delivered(cloud, &payload, Some(&trace)).await;
            }
            light.unhurried(cloud).await;
            in_force(cloud, light).await?;
            calls += counted(&faults::points(cloud, &trace).await);
        }
        match light.phase(cloud).await {
            phase if phase == self.phase => Ok(calls),
            phase => Err(format!("it ends {phase}")),
        }
    }

    async fn strike(
        &self,
        cloud: &Cloud,
        light: &Light,
        payload: &Value,
        trace: &str,
        point: &Point,
        mode: Mode,
    ) -> Result<Reply, String> {
        let wrong = |what: &str| format!("{}, {} #{}: {what}", payload, point.operation, point.nth);
        let fault = faults::strike_from(cloud, trace, point, mode.name, mode.times).await;
        let reply = invoke(cloud, payload, Some(trace)).await;
        if faults::fired(cloud, fault).await == 0 {
            return Err(wrong(&format!("not passed: {}", reply.text)));
        }
        if out_of_time(&reply) {
            return Err(wrong(&reply.text));
        }
        in_force(cloud, light).await.map_err(|what| wrong(&what))?;
        Ok(reply)
    }
}

/// How many calls the rotation itself made. The search for a certificate whose
/// minting got no answer looks at every certificate of the account that is as
/// young, and here other tests make those.
fn counted(made: &[Point]) -> usize {
    made.iter()
        .filter(|call| call.operation != "iot:DescribeCertificate")
        .count()
}

/// Whether Lambda had to end the invocation.
fn out_of_time(reply: &Reply) -> bool {
    reply.text.contains("Task timed out")
}

/// The certificate that the device last proved is ACTIVE and attached.
async fn in_force(cloud: &Cloud, light: &Light) -> Result<(), String> {
    let row = light.row(cloud).await;
    let proved = if row["provenAt"].is_null() {
        light.old.clone()
    } else {
        light.new_id(cloud).await
    };
    let certificate = format!("/certificates/{proved}");
    let (certificate, attached) = tokio::join!(
        describe(cloud, &certificate),
        principals(cloud, &light.thing)
    );
    let active = certificate.json()["certificateDescription"]["status"] == "ACTIVE";
    if !active || !attached.iter().any(|arn| arn.ends_with(&proved)) {
        return Err(format!("{proved} is proved and not in force: {row}"));
    }
    if attached.len() > 2 {
        return Err(format!("{} certificates at once", attached.len()));
    }
    Ok(())
}
