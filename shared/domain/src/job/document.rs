//! A job document, in the schema of the AWS IoT Device Client, version 1.0
//! (`source/jobs/README.md` of awslabs/aws-iot-device-client).
//!
//! Of what the schema allows, two things are refused: `runCommand`, which runs
//! whatever the document says, and `conditions`, which the client reads and
//! does not apply. A handler is a file in a folder of handlers, by its name.

use std::collections::BTreeSet;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::read::{Object, text, wrong};
use crate::failure::Failure;
use crate::fields::unique_json;
use crate::quote::quoted;

/// AWS: "Job document length", in bytes ("AWS IoT Device Management endpoints
/// and quotas").
pub const MOST_BYTES: usize = 32_768;
/// What a device keeps and reports of a job has a line for each step.
const MOST_STEPS: usize = 50;
/// A step's name is part of status details, whose keys hold 128 characters.
const LONGEST_NAME: usize = 100;
const LONGEST_HANDLER: usize = 128;
const LONGEST_PATH: usize = 512;

/// What a device is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Whether the end of what its steps print is reported.
    pub include_std_out: bool,
    /// The steps, one after the other.
    pub steps: Vec<Action>,
    /// What is done when all the steps are.
    pub final_step: Option<Action>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name, unlike any other's in the document.
    pub name: String,
    /// What it runs.
    pub handler: Handler,
    /// The user it is run as; the agent's own if there is none.
    pub run_as_user: Option<String>,
    /// Whether the job goes on when it fails.
    pub ignore_step_failure: bool,
    /// How many lines on standard error it may leave and still have succeeded;
    /// any number where this is absent.
    pub allow_std_err: Option<u64>,
}

/// A handler, and what it is started with. No shell comes between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// A file's name, without folders.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder: an absolute path, or the device's own where it is absent.
    pub path: Option<String>,
}

impl Document {
    /// Reads a document and checks all of it.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field, or with line and column where the
    /// text is no JSON; status 413 for more than [`MOST_BYTES`].
    pub fn parse(json: &[u8]) -> Result<Self, Failure> {
        fits(json.len())?;
        let value = unique_json(json).map_err(|error| {
            Failure::invalid(
                "document",
                format!("the job document does not parse: {error}"),
                "Send a JSON object with version and steps.",
            )
        })?;
        Self::from_value("", value)
    }

    /// Checks a document that stands at a path in something else.
    pub(super) fn from_value(path: &str, value: Value) -> Result<Self, Failure> {
        let mut object = Object::new(path, value)?;
        object.text("_comment")?;
        let version = object.required_text("version")?;
        if version != "1.0" {
            return Err(Failure::invalid(
                &object.at("version"),
                format!("{} is no version of the schema", quoted(&version)),
                "Write \"1.0\".",
            ));
        }
        let include_std_out = match object.take("includeStdOut") {
            // The client's manual says one and its code reads the other.
            Some(Value::Bool(flag)) => flag,
            None => false,
            Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
            Some(other) => return Err(wrong(&object.at("includeStdOut"), &other, "\"true\"")),
        };
        let steps = read_steps(&mut object)?;
        let final_path = object.at("finalStep");
        let final_step = object
            .take("finalStep")
            .map(|value| read_step(&final_path, value))
            .transpose()?;
        object.end()?;
        let document = Self {
            include_std_out,
            steps,
            final_step,
        };
        document.names_are_unique(path)?;
        Ok(document)
    }

    /// The document as it is sent; as short as JSON can be.
    pub fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Every action, the final one last.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().chain(&self.final_step)
    }

    /// Every argument.
    pub(super) fn args_mut(&mut self) -> impl Iterator<Item = (String, &mut String)> {
        let finals = self.final_step.iter_mut();
        let finals = finals.map(|action| ("finalStep".to_owned(), action));
        let steps = self.steps.iter_mut().enumerate();
        let steps = steps.map(|(i, action)| (format!("steps[{i}]"), action));
        steps.chain(finals).flat_map(|(path, action)| {
            let args = action.handler.args.iter_mut().enumerate();
            args.map(move |(i, arg)| (format!("{path}.action.input.args[{i}]"), arg))
        })
    }

    fn names_are_unique(&self, path: &str) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        match self.actions().find(|action| !seen.insert(&action.name)) {
            None => Ok(()),
            Some(action) => Err(Failure::invalid(
                &join(path, "steps"),
                format!("two steps are named {}", quoted(&action.name)),
                "Give each step a name of its own; progress is reported by it.",
            )),
        }
    }
}

/// Refuses a document of more bytes than AWS takes.
pub(super) fn fits(bytes: usize) -> Result<(), Failure> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Failure::invalid(
        "document",
        format!("the job document is {bytes} bytes long"),
        format!("AWS allows {MOST_BYTES}; put what is larger into S3 and name it."),
    )
    .status(413))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn read_steps(object: &mut Object) -> Result<Vec<Action>, Failure> {
    let path = object.at("steps");
    let steps = object.list("steps")?.unwrap_or_default();
    if steps.is_empty() || steps.len() > MOST_STEPS {
        return Err(Failure::invalid(
            &path,
            format!("the document has {} steps", steps.len()),
            format!("Write 1 to {MOST_STEPS} steps."),
        ));
    }
    let read = |(i, step)| read_step(&format!("{path}[{i}]"), step);
    steps.into_iter().enumerate().map(read).collect()
}

fn read_step(path: &str, step: Value) -> Result<Action, Failure> {
    let mut step = Object::new(path, step)?;
    let mut action = Object::new(&step.at("action"), step.required("action")?)?;
    step.end()?;
    let name = action.required_text("name")?;
    check_name(&action.at("name"), &name)?;
    let kind = action.required_text("type")?;
    check_type(&action.at("type"), &kind)?;
    let mut input = Object::new(&action.at("input"), action.required("input")?)?;
    let handler = read_handler(&mut input)?;
    input.end()?;
    let run_as_user = action.text("runAsUser")?.filter(|user| !user.is_empty());
    if let Some(user) = &run_as_user {
        check_user(&action.at("runAsUser"), user)?;
    }
    let ignore_step_failure = action.text_flag("ignoreStepFailure")?;
    let allow_std_err = match action.take("allowStdErr") {
        None => None,
        Some(value) => Some(
            value
                .as_u64()
                .ok_or_else(|| wrong(&action.at("allowStdErr"), &value, "a whole number"))?,
        ),
    };
    action.end()?;
    Ok(Action {
        name,
        handler,
        run_as_user,
        ignore_step_failure,
        allow_std_err,
    })
}

fn read_handler(input: &mut Object) -> Result<Handler, Failure> {
    let name = input.required_text("handler")?;
    check_handler(&input.at("handler"), &name)?;
    let path = input.text("path")?;
    let path = path.filter(|path| !path.is_empty() && path != "default");
    if let Some(path) = &path {
        check_path(&input.at("path"), path)?;
    }
    let args = input.list("args")?.unwrap_or_default();
    let at = input.at("args");
    let read = |(i, arg)| {
        let at = format!("{at}[{i}]");
        let arg = text(&at, arg)?;
        check_arg(&at, &arg)?;
        Ok(arg)
    };
    let args = args.into_iter().enumerate().map(read);
    Ok(Handler {
        name,
        args: args.collect::<Result<_, Failure>>()?,
        path,
    })
}

fn check_name(path: &str, name: &str) -> Result<(), Failure> {
    let good = !name.trim().is_empty()
        && name.chars().count() <= LONGEST_NAME
        && !name.contains(char::is_control);
    good.then_some(()).ok_or_else(|| {
        Failure::invalid(
            path,
            format!("{} is no name for a step", quoted(name)),
            format!("Use 1 to {LONGEST_NAME} characters on one line."),
        )
    })
}

fn check_type(path: &str, kind: &str) -> Result<(), Failure> {
    let remedy = "Write \"runHandler\", and put what is to be run into a handler on the device.";
    match kind {
        "runHandler" => Ok(()),
        "runCommand" => Err(Failure::invalid(
            path,
            "runCommand runs whatever the document says",
            remedy,
        )),
        other => Err(Failure::invalid(
            path,
            format!("{} is no type of action", quoted(other)),
            remedy,
        )),
    }
}

/// A file's name: letters, digits, `.`, `_` and `-`, and no `..`. What a shell
/// or a path would make something else of is not among them.
pub(super) fn check_handler(path: &str, name: &str) -> Result<(), Failure> {
    let good = name.len() <= LONGEST_HANDLER
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && !name.contains("..");
    good.then_some(()).ok_or_else(|| {
        Failure::invalid(
            path,
            format!("{} is no handler's name", quoted(name)),
            "Use the file's name alone: letters, digits and single . _ -, a letter or digit first.",
        )
    })
}

/// An absolute path of plain names.
fn check_path(path: &str, folder: &str) -> Result<(), Failure> {
    let plain_part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
    let good = folder.len() <= LONGEST_PATH
        && folder
            .strip_prefix('/')
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
            .is_some_and(|rest| rest.split('/').all(plain_part));
    good.then_some(()).ok_or_else(|| {
        Failure::invalid(
            path,
            format!("{} is no folder of handlers", quoted(folder)),
            "Write \"default\", or an absolute path of plain names without \"..\".",
        )
    })
}

/// Arguments reach a handler as they are, with no shell between; only what
/// steps out of a folder, or would forge lines in a log, is refused.
fn check_arg(path: &str, arg: &str) -> Result<(), Failure> {
    let reason = if arg.contains(char::is_control) {
        "the argument contains a control character"
    } else if arg.split(['/', '\\']).any(|part| part == "..") {
        "the argument leads out of its folder with \"..\""
    } else {
        return Ok(());
    };
    Err(Failure::invalid(
        path,
        reason,
        "Write one line, and paths without \"..\".",
    ))
}

/// A POSIX user name ("Portable Filename Character Set", as useradd takes it).
fn check_user(path: &str, user: &str) -> Result<(), Failure> {
    let good = user.len() <= 32
        && user.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && user
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    good.then_some(()).ok_or_else(|| {
        Failure::invalid(
            path,
            format!("{} is no user's name", quoted(user)),
            "Use up to 32 of a-z, 0-9, _ and -, a letter or _ first.",
        )
    })
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", "1.0")?;
        if self.include_std_out {
            map.serialize_entry("includeStdOut", "true")?;
        }
        let steps: Vec<_> = self.steps.iter().map(Step::of).collect();
        map.serialize_entry("steps", &steps)?;
        if let Some(step) = &self.final_step {
            map.serialize_entry("finalStep", &Step::of(step))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value("", value).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize)]
struct Step<'a> {
    action: Written<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    name: &'a str,
    r#type: &'static str,
    input: Input<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_as_user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_step_failure: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_std_err: Option<u64>,
}

#[derive(Serialize)]
struct Input<'a> {
    handler: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    args: &'a [String],
    path: &'a str,
}

impl<'a> Step<'a> {
    fn of(action: &'a Action) -> Self {
        Self {
            action: Written {
                name: &action.name,
                r#type: "runHandler",
                input: Input {
                    handler: &action.handler.name,
                    args: &action.handler.args,
                    // Without it the Device Client would look in the PATH.
                    path: action.handler.path.as_deref().unwrap_or("default"),
                },
                run_as_user: action.run_as_user.as_deref(),
                ignore_step_failure: action.ignore_step_failure.then_some("true"),
                allow_std_err: action.allow_std_err,
            },
        }
    }
}
