//! A rotation whose word to renew is carried by a job, where a fleet prefers
//! jobs to a topic of ours.
//!
//! The job is the messenger and nothing more. It says what the word says, its
//! device answers as it answers the word, and nothing of the rotation depends
//! on what becomes of the job: whoever cancels it by hand takes a message away,
//! not a certificate. It is taken back before the rotation ends, so that none
//! is left.

use serde::{Deserialize, Serialize};

use super::{Phase, Rotation};
use crate::failure::Failure;
use crate::job::{Action, Document, Handler};
use crate::names::OperationId;
use crate::quote::quoted;
use crate::time::Moment;

/// The handler that the job names: the device's own, not a file's.
pub const HANDLER: &str = "renew-certificate";

/// What the ids of these jobs begin with; roles are limited to it.
pub const PREFIX: &str = "lamplighter-renew-";

/// AWS: a job's end lies at least this far ahead (`SchedulingConfig`, AWS IoT
/// API Reference). Two minutes more cover the call and the cut seconds.
const LEAST_MILLIS: u64 = 32 * MINUTE_MILLIS;
const MINUTE_MILLIS: u64 = 60_000;
/// AWS: the longest time in progress (`TimeoutConfig`, the same).
const MOST_MINUTES: u64 = 10_080;

/// Who tells a device that its certificate is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Messenger {
    /// A message on the device's topic.
    #[default]
    Mqtt,
    /// A job.
    Job,
}

impl Messenger {
    /// Reads a request's or a stack's word for it.
    ///
    /// # Errors
    /// `Invalid`, with the field `messenger`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "mqtt" => Ok(Self::Mqtt),
            "job" => Ok(Self::Job),
            other => Err(Failure::invalid(
                "messenger",
                format!("{} tells no device", quoted(other)),
                "Write \"mqtt\" or \"job\".",
            )),
        }
    }
}

/// A job as it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id, the same however often it is made.
    pub job_id: String,
    /// Its document, as JSON.
    pub document: String,
    /// When AWS ends it, should nobody else: a UTC minute, `2026-12-31T23:59`.
    pub ends_at: String,
    /// How long the device may be at it, in minutes.
    pub most_minutes: i64,
}

/// The id of the job of a rotation.
pub fn job_id(rotation: &OperationId) -> String {
    format!("{PREFIX}{rotation}")
}

impl Rotation {
    /// Whether a job carries its word, and may be there.
    pub fn by_job(&self) -> bool {
        self.messenger == Messenger::Job
    }

    /// The job that says what the word to renew says. Its end is that of the
    /// rotation, or as near to it as AWS allows; a shorter one is kept by
    /// taking the job back.
    pub fn order(&self, now: Moment) -> Order {
        let windows = self.windows.request_millis + self.windows.proof_millis;
        let end = self.started_at.plus_millis(windows);
        let end = end.max(now.plus_millis(LEAST_MILLIS));
        let minutes = windows.div_ceil(MINUTE_MILLIS).clamp(1, MOST_MINUTES);
        let mut ends_at = end.rfc3339();
        ends_at.truncate("2026-12-31T23:59".len());
        Order {
            job_id: job_id(&self.rotation_id),
            document: self.document().json(),
            ends_at,
            most_minutes: i64::try_from(minutes).unwrap_or(i64::MAX),
        }
    }

    fn document(&self) -> Document {
        let step = Action {
            name: "Renew the certificate".to_owned(),
            handler: Handler {
                name: HANDLER.to_owned(),
                args: vec![
                    self.rotation_id.to_string(),
                    self.deadline.0.to_string(),
                    self.reason.name().to_owned(),
                ],
                path: None,
            },
            run_as_user: None,
            ignore_step_failure: false,
            allow_std_err: None,
        };
        Document {
            include_std_out: false,
            steps: vec![step],
            final_step: None,
        }
    }

    /// The job is gone; with it the rotation, if nothing else is left of it.
    #[must_use]
    pub fn recalled(mut self, now: Moment) -> Self {
        self.messenger = Messenger::Mqtt;
        if self.phase == Phase::Withdrawing && self.new.is_none() && !self.by_hand_out() {
            self.end(Phase::RolledBack, now);
        }
        self
    }
}
