//! `lamp job run`: what is sent to start a job.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use lamplighter_domain::rollout::forecast::{Forecast, Page};
use lamplighter_domain::rollout::order::usual_rollout;
use lamplighter_domain::rollout::spec::Spec;
use serde_json::{Map, Value, json};

use super::{exit, show, shown, watch};
use crate::api::{Api, Call};
use crate::device;
use crate::failure::{Exit, Failure};
use crate::keys::token;
use crate::output::{self, Format};

/// What, to whom, and how.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("targets").required(true))]
pub(crate) struct Arguments {
    /// The job template, as a catalog declares it
    template: String,
    /// A parameter of the template
    #[arg(long = "parameter", short = 'p', value_name = "NAME=VALUE", value_parser = device::pair)]
    parameters: Vec<(String, String)>,

    /// A device; may be repeated
    #[arg(long = "thing", value_name = "THING", group = "targets")]
    things: Vec<String>,
    /// A CSV file with the devices' names in its column thingName
    #[arg(long, value_name = "FILE", group = "targets")]
    from: Option<PathBuf>,
    /// A static group and those below it
    #[arg(long, value_name = "GROUP", group = "targets")]
    group: Option<String>,
    /// A dynamic group of a catalog
    #[arg(long, value_name = "GROUP", group = "targets")]
    dynamic_group: Option<String>,
    /// The devices for which a query holds
    #[arg(long, value_name = "QUERY", group = "targets")]
    query: Option<String>,
    /// The query compares versions (<semver"1.10.0"), which AWS's own cannot
    #[arg(long, requires = "query")]
    beyond_aws: bool,

    #[command(flatten)]
    rollout: Rollout,

    /// Show who would get it, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// The same key again is the same job [default: another one each time]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Follow it until it ends or waits for its operator
    #[arg(long)]
    watch: bool,
}

/// How it is rolled out; what is not said is as the service has it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rollout")]
struct Rollout {
    /// A wave's size, such as 5 or 10%; the first is the canary, the last is
    /// repeated
    #[arg(long = "wave", value_name = "SIZE", value_parser = size)]
    waves: Vec<Value>,
    /// At most so many devices are told a minute
    #[arg(long, value_name = "N")]
    per_minute: Option<u64>,
    /// Somebody has to approve each wave after the first
    #[arg(long)]
    approval: bool,
    /// With a greater share of a wave failed, it is broken off
    #[arg(long, value_name = "PERCENT")]
    most_failed_percent: Option<u64>,
    /// At least this share of those that answered must have succeeded
    #[arg(long, value_name = "PERCENT")]
    least_succeeded_percent: Option<u64>,
    /// At most this share of a wave may be unreached at its deadline
    #[arg(long, value_name = "PERCENT")]
    most_unreached_percent: Option<u64>,
    /// What follows a wave that did not pass
    #[arg(long, value_name = "WHAT")]
    on_failure: Option<OnFailure>,
    /// How long a wave may take
    #[arg(long, value_name = "MINUTES")]
    deadline_minutes: Option<u64>,
    /// How long the whole may take
    #[arg(long, value_name = "MINUTES")]
    duration_minutes: Option<u64>,
    /// How long a device may take once it has begun
    #[arg(long, value_name = "MINUTES")]
    in_progress_minutes: Option<u64>,
    /// How often AWS repeats what failed or timed out on a device
    #[arg(long, value_name = "TIMES")]
    retries: Option<u64>,
    /// Devices that join the group later get it too, so many a minute
    #[arg(long, value_name = "N")]
    late_joiners_per_minute: Option<u64>,
    /// The rest of it, a JSON file: {"window": …, "growing": …, "startAt": …};
    /// what is said above counts more
    ///
    /// "window": {"opensAtMinute": 60, "minutes": 240} has waves begin between
    /// 01:00 and 05:00 UTC only. "growing": {"from": 10, "factorTenths": 20,
    /// "afterNotified": 50} tells 10 devices a minute at first, and twice as many
    /// each time that 50 have been told, up to perMinute. "startAt" is the moment
    /// before which nothing begins, in milliseconds since 1970.
    #[arg(long = "rollout", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnFailure {
    /// Wait for somebody to decide
    Pause,
    /// End the job
    Stop,
}

fn size(text: &str) -> Result<Value, String> {
    let share = text.strip_suffix('%').map(str::parse::<u64>);
    match (share, text.parse::<u64>()) {
        (Some(Ok(_)), _) => Ok(text.into()),
        (None, Ok(count)) => Ok(count.into()),
        _ => Err("write a number, or a share such as 10%".to_owned()),
    }
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    // Without a key the service would take what is sent again for another job.
    let key = arguments.idempotency_key.clone().unwrap_or_else(token);
    let call = Call::post(&["jobs"])
        .body(arguments.body()?)
        .idempotency_key(&key);
    let job = api.send(call).await;
    let job = job.map_err(|failure| perhaps(failure, &key))?.body;
    if arguments.dry_run {
        if format.is_json() {
            let all = everybody(&job, arguments, api).await?;
            output::document(&all);
        } else {
            show::forecast(&job);
        }
        return Ok(exit(&job));
    }
    match job["jobId"].as_str() {
        Some(id) if arguments.watch => watch::follow(id, api, format).await,
        _ => Ok(shown(&job, format)),
    }
}

/// Where nobody answered the job may have begun: its key finds it.
fn perhaps(mut failure: Failure, key: &str) -> Failure {
    if failure.exit != Exit::Usage && failure.status.is_none_or(|status| status >= 500) {
        let again = format!("To go on with the same job, add --idempotency-key {key}.");
        let remedy = failure.remedy.into_iter().chain([again]);
        failure.remedy = Some(remedy.collect::<Vec<_>>().join(" "));
    }
    failure
}

/// The forecast with everybody in it: page after page, until none is left.
async fn everybody(first: &Value, arguments: &Arguments, api: &Api) -> Result<Value, Failure> {
    let mut body = arguments.body()?;
    let mut pages = page(first)?;
    while let Some(cursor) = pages.next_cursor.take() {
        body["cursor"] = json!(cursor);
        let call = Call::post(&["jobs"]).body(body.clone());
        pages.extend(page(&api.send(call).await?.body)?);
    }
    pages.sort();
    let mut all = json!(Forecast::whole(&spec(&body)?, &pages));
    all["document"] = first["document"].clone();
    Ok(all)
}

fn page(answer: &Value) -> Result<Page, Failure> {
    serde_json::from_value(answer.clone()).map_err(|error| unread(&error.to_string()))
}

fn unread(why: &str) -> Failure {
    let reason = format!("the answer to the dry run is not understood: {why}");
    Failure::failed(reason, "Check that the stack is of this lamp's version.")
}

/// The rollout, as the service has read it.
fn spec(body: &Value) -> Result<Spec, Failure> {
    let rollout = body.get("rollout").cloned();
    let rollout = rollout.unwrap_or_else(usual_rollout);
    Spec::read("rollout", rollout).map_err(|failure| unread(&failure.reason))
}

impl Arguments {
    fn body(&self) -> Result<Value, Failure> {
        let mut parameters = Map::new();
        for (name, value) in &self.parameters {
            let before = parameters.insert(name.clone(), value.as_str().into());
            if before.is_some() {
                let reason = format!("the parameter {name} is given twice");
                return Err(Failure::usage(reason, "Give each one once."));
            }
        }
        let mut body = json!({
            "template": self.template, "parameters": parameters,
            "targets": self.targets()?, "dryRun": self.dry_run,
        });
        if let Some(rollout) = self.rollout.body()? {
            body["rollout"] = rollout;
        }
        Ok(body)
    }

    fn targets(&self) -> Result<Value, Failure> {
        if let Some(file) = &self.from {
            let rows = device::rows(file)?.into_iter();
            let things: Vec<_> = rows.map(|row| row.thing_name).collect();
            return Ok(json!({ "things": things }));
        }
        Ok(if let Some(group) = &self.group {
            json!({ "group": group })
        } else if let Some(group) = &self.dynamic_group {
            json!({ "dynamicGroup": group })
        } else if let Some(query) = &self.query {
            json!({ "query": query, "semver": self.beyond_aws })
        } else {
            json!({ "things": self.things })
        })
    }
}

impl Rollout {
    fn body(&self) -> Result<Option<Value>, Failure> {
        let mut body = match &self.file {
            Some(file) => {
                let broken = |why: String| {
                    Failure::usage(format!("{}: {why}", file.display()), "Give a JSON object.")
                };
                let text = std::fs::read(file).map_err(|error| broken(error.to_string()))?;
                let read: Map<_, _> =
                    serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
                read
            }
            None => Map::new(),
        };
        let on_failure = self.on_failure.map(|what| match what {
            OnFailure::Pause => "pause".into(),
            OnFailure::Stop => "stop".into(),
        });
        let waves = (!self.waves.is_empty()).then(|| Value::from(self.waves.clone()));
        let number = |number: Option<u64>| number.map(Value::from);
        for (name, value) in [
            ("waves", waves),
            ("perMinute", number(self.per_minute)),
            ("approval", self.approval.then(|| true.into())),
            ("mostFailedPercent", number(self.most_failed_percent)),
            (
                "leastSucceededPercent",
                number(self.least_succeeded_percent),
            ),
            ("mostUnreachedPercent", number(self.most_unreached_percent)),
            ("onFailure", on_failure),
            ("deadlineMinutes", number(self.deadline_minutes)),
            ("durationMinutes", number(self.duration_minutes)),
            ("inProgressMinutes", number(self.in_progress_minutes)),
            ("retries", number(self.retries)),
            ("lateJoinersPerMinute", number(self.late_joiners_per_minute)),
        ] {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        }
        if body.is_empty() {
            return Ok(None);
        }
        // What the service takes where nothing at all is said.
        body.entry("waves")
            .or_insert_with(|| usual_rollout()["waves"].take());
        Ok(Some(body.into()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn body(parameters: &[&str]) -> Result<Value, Failure> {
        let line = ["run", "firmware", "--thing", "x"].iter().chain(parameters);
        Line::parse_from(line).arguments.body()
    }

    #[test]
    fn the_rollout_of_the_readme_is_one() {
        let readme = include_str!("../../../README.md");
        let (_, after) = readme
            .split_once("`--rollout FILE`")
            .expect("its paragraph");
        let (_, after) = after.split_once("```json\n").expect("its example");
        let (example, _) = after.split_once("```").expect("its end");
        let mut rollout: Value = serde_json::from_str(example).unwrap();
        rollout["waves"] = json!([1]);
        let spec = Spec::read("rollout", rollout).unwrap();
        assert!(spec.window.is_some() && spec.rate.growing.is_some() && spec.start_at.is_some());
    }

    #[test]
    fn a_file_that_is_not_there_has_a_remedy() {
        let line = ["run", "firmware", "--from", "/nowhere/lights.csv"];
        let failure = Line::parse_from(line).arguments.body().unwrap_err();
        assert!(failure.reason.starts_with("/nowhere/lights.csv: "));
        assert!(failure.remedy.is_some(), "{}", failure.text());
    }

    #[test]
    fn a_parameter_is_given_once() {
        let given = body(&["-p", "version=2.4.0", "-p", "slot=a=b"]).unwrap();
        let parameters = json!({"version": "2.4.0", "slot": "a=b"});
        assert_eq!(given["parameters"], parameters);
        let twice = body(&["-p", "version=2.4.0", "-p", "version=2.4.1"]).unwrap_err();
        assert!(
            twice.reason.contains("version is given twice"),
            "{}",
            twice.reason
        );
    }
}
