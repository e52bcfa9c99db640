//! Parameters of a template: declared with a type, filled in and checked here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use super::object::S3Object;
use super::pattern::Pattern;
use super::read::{Object, wrong};
use crate::failure::Failure;
use crate::names::{Shape, checked};
use crate::quote::quoted;

const OPEN: &str = "${aws:iot:parameter:";
/// What follows a name of type `s3` for the object's checksum in its place.
const CHECKSUM: &str = ".sha256";
const LONGEST_VALUE: usize = 1024;
const NAME: Shape = Shape {
    field: "parameters",
    what: "parameter name",
    most: 64,
    extra: "-_",
};
const MOST: usize = 50;

/// The parameters of a template, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub(super) BTreeMap<String, Parameter>);

/// One declared parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What it may be.
    pub kind: Kind,
    /// What it is for.
    pub description: String,
    /// What it is unless somebody says otherwise, as text.
    pub default: Option<Filled>,
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, of this pattern if there is one.
    Text(Option<Pattern>),
    /// A number with or without decimals.
    Number,
    /// A whole number, within these bounds.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Enum(Vec<String>),
    /// An object in S3.
    S3,
}

/// A value that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// As the document will say it.
    Text(String),
    /// A presigned URL of this, and its checksum.
    Object(S3Object),
}

/// A use of a parameter in an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) checksum: bool,
    /// Whether it is all of its argument.
    pub(super) whole: bool,
}

impl Parameters {
    /// Reads the declarations: an object by name.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub(super) fn read(path: &str, value: Option<Value>) -> Result<Self, Failure> {
        let Some(value) = value else {
            return Ok(Self::default());
        };
        let Value::Object(declared) = value else {
            return Err(wrong(path, &value, "an object of parameters by name"));
        };
        if declared.len() > MOST {
            return Err(Failure::invalid(
                path,
                format!("there are {} parameters", declared.len()),
                format!("Declare at most {MOST}."),
            ));
        }
        let read = |(name, value): (String, Value)| {
            let path = format!("{path}.{name}");
            checked(&name, NAME).map_err(|failure| failure.field(&path))?;
            let parameter = Parameter::read(&path, value)?;
            Ok((name, parameter))
        };
        declared
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The declared parameter of a name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name)
    }

    /// Those that somebody has to give.
    pub fn without_default(&self) -> impl Iterator<Item = &str> {
        let wanting = self.0.iter().filter(|(_, one)| one.default.is_none());
        wanting.map(|(name, _)| name.as_str())
    }

    /// Checks what a caller gave, and adds the defaults.
    ///
    /// # Errors
    /// `Invalid` for `parameters`, with all that are undeclared, else with all
    /// that are missing, else with the first that is not what it should be.
    pub fn fill(
        &self,
        given: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Filled>, Failure> {
        let undeclared = given.keys().filter(|name| !self.0.contains_key(*name));
        refuse_all(
            undeclared,
            "the template declares no",
            "Leave them out, or correct their names.",
        )?;
        let missing = self
            .0
            .iter()
            .filter(|(name, parameter)| parameter.default.is_none() && !given.contains_key(*name));
        refuse_all(
            missing.map(|(name, _)| name),
            "nothing was given for",
            "Give each a value.",
        )?;
        let fill = |(name, parameter): (&String, &Parameter)| {
            let filled = match (given.get(name), &parameter.default) {
                (Some(value), _) => parameter.kind.fill(&format!("parameters.{name}"), value)?,
                (None, Some(default)) => default.clone(),
                (None, None) => return Err(Failure::bug(format!("{name} has no value"))),
            };
            Ok((name.clone(), filled))
        };
        self.0.iter().map(fill).collect()
    }
}

impl Parameter {
    fn read(path: &str, value: Value) -> Result<Self, Failure> {
        let mut object = Object::new(path, value)?;
        let name = object.required_text("type")?;
        let kind = Kind::read(&name, &mut object)?;
        let description = object.text("description")?.unwrap_or_default();
        let at = object.at("default");
        let default = object.take("default");
        let default = default.map(|value| kind.fill(&at, &value)).transpose()?;
        object.end()?;
        Ok(Self {
            kind,
            description,
            default,
        })
    }
}

impl Kind {
    fn read(name: &str, object: &mut Object) -> Result<Self, Failure> {
        match name {
            "string" => {
                let at = object.at("pattern");
                let pattern = object.text("pattern")?;
                let pattern = pattern.map(|text| Pattern::parse(&at, &text)).transpose()?;
                Ok(Self::Text(pattern))
            }
            "number" => Ok(Self::Number),
            "integer" => {
                let least = bound(object, "minimum")?.unwrap_or(i64::MIN);
                let most = bound(object, "maximum")?.unwrap_or(i64::MAX);
                Ok(Self::Integer(least, most))
            }
            "boolean" => Ok(Self::Boolean),
            "enum" => {
                let at = object.at("values");
                let values = object.texts("values")?.unwrap_or_default();
                if values.is_empty() {
                    return Err(Failure::invalid(
                        &at,
                        "values is empty",
                        "List what it may be.",
                    ));
                }
                for value in &values {
                    check_text(&at, value)?;
                }
                Ok(Self::Enum(values))
            }
            "s3" => Ok(Self::S3),
            other => Err(Failure::invalid(
                &object.at("type"),
                format!("{} is no type of parameter", quoted(other)),
                "Use string, number, integer, boolean, enum or s3.",
            )),
        }
    }

    /// What it may be, in words.
    fn wanted(&self) -> String {
        match self {
            Self::Text(None) => "a text".to_owned(),
            Self::Text(Some(pattern)) => format!("a text like {}", pattern.as_str()),
            Self::Number => "a number".to_owned(),
            Self::Integer(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Enum(values) => format!("one of {}", values.join(", ")),
            Self::S3 => "s3://BUCKET/KEY".to_owned(),
        }
    }

    /// Checks a value: as JSON has it, or the same as text.
    fn fill(&self, path: &str, value: &Value) -> Result<Filled, Failure> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            other => return Err(wrong(path, other, &self.wanted())),
        };
        let good = match self {
            Self::S3 => return S3Object::parse(path, &text).map(Filled::Object),
            Self::Text(pattern) => {
                value.is_string()
                    && pattern.as_ref().is_none_or(|pattern| {
                        text.chars().count() <= LONGEST_VALUE && pattern.matches(&text)
                    })
            }
            Self::Number => text.parse::<Number>().is_ok(),
            Self::Integer(least, most) => text
                .parse::<i64>()
                .is_ok_and(|number| (*least..=*most).contains(&number)),
            Self::Boolean => text == "true" || text == "false",
            Self::Enum(values) => values.contains(&text),
        };
        if !good {
            let wanted = self.wanted();
            let reason = format!("{} is not {wanted}", quoted(&text));
            return Err(Failure::invalid(path, reason, format!("Give {wanted}.")));
        }
        check_text(path, &text)?;
        Ok(Filled::Text(text))
    }
}

fn bound(object: &mut Object, name: &str) -> Result<Option<i64>, Failure> {
    let at = object.at(name);
    let value = object.take(name);
    let read = |value: Value| {
        value
            .as_i64()
            .ok_or_else(|| wrong(&at, &value, "a whole number"))
    };
    value.map(read).transpose()
}

/// A value that would make a placeholder of its own, or lines, is refused.
fn check_text(path: &str, text: &str) -> Result<(), Failure> {
    let reason = if text.chars().count() > LONGEST_VALUE {
        "the value is too long"
    } else if text.contains("${") {
        "the value contains a placeholder"
    } else if text.contains(char::is_control) {
        "the value contains a control character"
    } else {
        return Ok(());
    };
    let remedy = format!("Give one line of at most {LONGEST_VALUE} characters, without ${{.");
    Err(Failure::invalid(path, reason, remedy))
}

fn refuse_all<'a>(
    names: impl Iterator<Item = &'a String>,
    what: &str,
    remedy: &str,
) -> Result<(), Failure> {
    let names: Vec<_> = names.map(|name| quoted(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let reason = format!("{what} {}", names.join(", "));
    Err(Failure::invalid("parameters", reason, remedy))
}

/// The parameters that a text uses.
pub(super) fn uses(text: &str) -> BTreeSet<Use> {
    pieces(text)
        .filter_map(|piece| match piece {
            Piece::Use(used) => Some(used),
            Piece::Text(_) => None,
        })
        .collect()
}

/// A text with its parameters replaced. What replaces one is not looked at
/// again, so a value never becomes a placeholder.
pub(super) fn replace<E>(
    text: &str,
    value: impl Fn(&Use) -> Result<String, E>,
) -> Result<String, E> {
    pieces(text)
        .map(|piece| match piece {
            Piece::Text(text) => Ok(text.to_owned()),
            Piece::Use(used) => value(&used),
        })
        .collect()
}

enum Piece<'a> {
    Text(&'a str),
    Use(Use),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((inside, after)) = rest.strip_prefix(OPEN).and_then(|r| r.split_once('}')) else {
            // Up to the next one, past what only looks like one here.
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let end = rest[first..].find(OPEN).map_or(rest.len(), |at| at + first);
            let (before, after) = rest.split_at(end);
            rest = after;
            return Some(Piece::Text(before));
        };
        let name = inside.strip_suffix(CHECKSUM);
        let used = Use {
            name: name.unwrap_or(inside).to_owned(),
            checksum: name.is_some(),
            whole: rest.len() == text.len() && after.is_empty(),
        };
        rest = after;
        Some(Piece::Use(used))
    })
}
