//! The device's part: which step of a job is next, and what is reported.
//!
//! Each decision is stored before it is acted on. A step that was begun and of
//! which nothing more is known, because the power went or because the step
//! itself restarted the device, is run again and told so; one that begins too
//! often without ending fails the job, so that no job restarts a device for
//! ever. All that a document names is checked before its first step.

mod offer;
mod output;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::document::{Action, Document};
use crate::failure::Failure;

pub use offer::Offer;
pub use output::{Output, Room, detail};

/// How often a step may begin without ending.
pub const MOST_RUNS: u32 = 3;
/// How many of the steps whose failure was ignored are named.
const MOST_IGNORED: usize = 10;

/// What this device lets jobs do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The handlers in its folder.
    pub handlers: BTreeSet<String>,
    /// What is in its folder and is no handler, and why not.
    pub unfit: BTreeMap<String, String>,
    /// The names of that folder, which is the only one.
    pub folders: BTreeSet<String>,
    /// The users as whom it runs them; without one it runs them as its own.
    pub users: BTreeSet<String>,
}

/// A job's execution on this device, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The job.
    pub job_id: String,
    /// Which execution of it.
    pub execution_number: u64,
    /// What is to be done; nothing, where the device would not do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// The action under way; the final step comes after the others.
    pub step: usize,
    /// How often it was begun.
    pub runs: u32,
    /// The system's boot in which it was last begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Whether AWS knows of the step.
    pub told: bool,
    /// Steps that failed and whose failure is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// How it ended. It is reported until AWS has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Update>,
}

/// A status that a device reports (`UpdateJobExecution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// At work.
    InProgress,
    /// Done.
    Succeeded,
    /// A step failed.
    Failed,
    /// Nothing was done.
    Rejected,
}

/// What is published on the job's `update` topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The status.
    pub status: Status,
    /// Its details, within AWS's limits.
    pub status_details: BTreeMap<String, String>,
    /// Which execution is meant.
    pub execution_number: u64,
}

/// A handler to start, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The handler's name.
    pub handler: String,
    /// Its folder, where it is not the device's own.
    pub folder: Option<String>,
    /// Its arguments; the first is the user's name, as the Device Client has
    /// it, and empty where the document names none.
    pub args: Vec<String>,
    /// The user as whom it runs.
    pub user: Option<String>,
    /// What it finds in its environment.
    pub env: [(&'static str, String); 3],
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Publish this. [`accepted`](Progress::accepted) when AWS has it.
    Report(Update),
    /// Store [`begun`](Progress::begun), then start this;
    /// [`finished`](Progress::finished) when it has ended.
    Run(Run),
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status; 0 is success.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long, and was killed.
    TooLong,
    /// It printed too much, and was killed.
    TooMuch,
    /// It could not be started.
    NotStarted(String),
}

impl Rules {
    /// Whether the device would do all of a document.
    ///
    /// # Errors
    /// `Denied`, with the path of the field: a handler that is not there, a
    /// folder or a user that jobs may not use.
    pub fn check(&self, document: &Document) -> Result<(), Failure> {
        for action in document.actions() {
            let handler = &action.handler;
            let name = &action.name;
            let refused = |what: &str| {
                let kind = crate::failure::Kind::Denied;
                Err(Failure::new(
                    kind,
                    format!("step {name}: {what}"),
                    "Send a job for what is on the device.",
                ))
            };
            if let Some(path) = &handler.path
                && !self.folders.contains(path.trim_end_matches('/'))
            {
                return refused(&format!("no handlers are run from {path}"));
            }
            if !self.handlers.contains(&handler.name) {
                let handler = &handler.name;
                return refused(&match self.unfit.get(handler) {
                    Some(why) => format!("{handler} is no handler: {why}"),
                    None => format!("there is no handler {handler}"),
                });
            }
            if let Some(user) = &action.run_as_user
                && !self.users.contains(user)
            {
                return refused(&format!("nothing is run as {user}"));
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Takes an execution up; one that the device will not do has ended.
    pub fn begin(offer: Offer, rules: &Rules) -> Self {
        let document = offer.document.and_then(|document| {
            rules.check(&document)?;
            Ok(document)
        });
        let (document, refusal) = match document {
            Ok(document) => (Some(document), None),
            Err(failure) => (None, Some(failure)),
        };
        let mut progress = Self {
            job_id: offer.job_id,
            execution_number: offer.execution_number,
            document,
            step: 0,
            runs: 0,
            boot: None,
            told: false,
            ignored: Vec::new(),
            end: None,
        };
        if let Some(failure) = refusal {
            let place = failure.field.map(|field| format!("{field}: "));
            let reason = place.unwrap_or_default() + &failure.reason;
            progress.end = Some(progress.update(Status::Rejected, &[("reason", &reason)]));
        }
        progress
    }

    /// What comes next.
    pub fn next(&self) -> Act {
        match (&self.end, self.action()) {
            (Some(end), _) => Act::Report(end.clone()),
            (None, Some(action)) if self.told => Act::Run(self.run(action)),
            (None, _) => Act::Report(self.update(Status::InProgress, &[])),
        }
    }

    /// AWS has what was reported. Nothing is left of one that has ended.
    pub fn accepted(mut self) -> Option<Self> {
        self.told = true;
        self.end.is_none().then_some(self)
    }

    /// The step is about to begin, in this boot of the system.
    #[must_use]
    pub fn begun(mut self, boot: &str) -> Self {
        if self.runs >= MOST_RUNS {
            let reason = format!("{} began {MOST_RUNS} times and did not end", self.title());
            return self.ends(Status::Failed, &[("reason", &reason)]);
        }
        self.runs += 1;
        self.boot = Some(boot.to_owned());
        self
    }

    /// The step has ended.
    #[must_use]
    pub fn finished(mut self, exit: &Exit, output: &Output) -> Self {
        let Some(action) = self.action().cloned() else {
            return self;
        };
        let failure = failure_of(&action, exit, output);
        let title = self.title();
        let wanted = self.document.as_ref().is_some_and(|d| d.include_std_out);
        let stdout = if wanted || failure.is_some() {
            output.stdout()
        } else {
            String::new()
        };
        let stderr = output.stderr();
        match failure {
            Some(reason) if !action.ignore_step_failure => {
                let reason = format!("{title}: {reason}");
                let details = [
                    ("reason", reason.as_str()),
                    ("stdout", &stdout),
                    ("stderr", &stderr),
                ];
                return self.ends(Status::Failed, &details);
            }
            Some(_) if self.ignored.len() < MOST_IGNORED => self.ignored.push(action.name),
            _ => {}
        }
        self.step += 1;
        (self.runs, self.boot, self.told) = (0, None, false);
        if self.action().is_none() {
            return self.ends(Status::Succeeded, &[("stdout", &stdout)]);
        }
        self
    }

    /// Whether an offered execution is this one.
    pub fn is(&self, offer: &Offer) -> bool {
        self.job_id == offer.job_id && self.execution_number == offer.execution_number
    }

    fn action(&self) -> Option<&Action> {
        self.document.as_ref()?.actions().nth(self.step)
    }

    /// The step as people know it.
    fn title(&self) -> String {
        let Some(document) = &self.document else {
            return String::new();
        };
        let count = document.actions().count();
        match self.action() {
            Some(action) => format!("step {} of {count}, {}", self.step + 1, action.name),
            None => format!("all of {count} steps"),
        }
    }

    fn run(&self, action: &Action) -> Run {
        let user = action.run_as_user.clone();
        let mut args = vec![user.clone().unwrap_or_default()];
        args.extend(action.handler.args.iter().cloned());
        Run {
            handler: action.handler.name.clone(),
            folder: action.handler.path.clone(),
            args,
            user,
            env: [
                ("LAMP_JOB_ID", self.job_id.clone()),
                // From the second on, a handler that restarts the device can
                // tell that it has.
                ("LAMP_STEP_RUN", (self.runs + 1).to_string()),
                ("LAMP_STEP_BOOT", self.boot.clone().unwrap_or_default()),
            ],
        }
    }

    fn ends(mut self, status: Status, details: &[(&str, &str)]) -> Self {
        self.end = Some(self.update(status, details));
        self
    }

    fn update(&self, status: Status, details: &[(&str, &str)]) -> Update {
        let (title, ignored) = (self.title(), self.ignored.join(", "));
        let usual = [("step", title.as_str()), ("ignoredFailures", &ignored)];
        let details = usual.iter().chain(details);
        let details = details.filter_map(|(name, text)| Some(((*name).to_owned(), detail(text)?)));
        Update {
            status,
            status_details: details.collect(),
            execution_number: self.execution_number,
        }
    }
}

/// Why a step failed, if it did.
fn failure_of(action: &Action, exit: &Exit, output: &Output) -> Option<String> {
    match exit {
        Exit::Code(0) => {
            let lines = output.stderr_lines();
            let most = action.allow_std_err?;
            (lines > most).then(|| format!("{lines} lines on standard error"))
        }
        Exit::Code(code) => Some(format!("exit status {code}")),
        Exit::Signal(signal) => Some(format!("ended by signal {signal}")),
        Exit::TooLong => Some("it took too long".to_owned()),
        Exit::TooMuch => Some("it printed too much".to_owned()),
        Exit::NotStarted(why) => Some(format!("it could not be started: {why}")),
    }
}
