//! A JSON object taken apart, with the path to the field at fault.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::fields::kind;
use crate::quote::quoted;

/// The fields of one object that have not been taken yet.
pub(crate) struct Object {
    path: String,
    fields: Map<String, Value>,
    /// What was asked for.
    known: Vec<String>,
}

impl Object {
    /// The object that stands at a path.
    pub(crate) fn new(path: &str, value: Value) -> Result<Self, Failure> {
        match value {
            Value::Object(fields) => Ok(Self {
                path: path.to_owned(),
                fields,
                known: Vec::new(),
            }),
            other => Err(wrong(within(path), &other, "an object")),
        }
    }

    /// The path of one of its fields.
    pub(crate) fn at(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Takes a field; null counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.known.push(name.to_owned());
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<Value, Failure> {
        self.take(name).ok_or_else(|| {
            Failure::invalid(
                &self.at(name),
                format!("{name} is missing"),
                format!("Add {name}."),
            )
        })
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.at(name);
        self.take(name).map(|value| text(&path, value)).transpose()
    }

    /// Takes a text that must be there.
    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, Failure> {
        let path = self.at(name);
        text(&path, self.required(name)?)
    }

    /// Takes a list.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Failure> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(wrong(&self.at(name), &other, "a list")),
        }
    }

    /// Takes a list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Failure> {
        let path = self.at(name);
        let read = |(i, value)| text(&format!("{path}[{i}]"), value);
        self.list(name)?
            .map(|values| values.into_iter().enumerate().map(read).collect())
            .transpose()
    }

    /// Takes true or false as the Device Client has it: as a text.
    pub(crate) fn text_flag(&mut self, name: &str) -> Result<bool, Failure> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(Failure::invalid(
                &self.at(name),
                format!("{name} is neither \"true\" nor \"false\""),
                "Write it as a text; the Device Client takes no other for true.",
            )),
        }
    }

    /// Refuses what nobody has taken.
    pub(crate) fn end(self) -> Result<(), Failure> {
        let Some(name) = self.fields.keys().next() else {
            return Ok(());
        };
        Err(Failure::invalid(
            within(&self.path),
            format!("there is no field {}", quoted(name)),
            format!(
                "Remove it, or correct its name: there are {}.",
                self.known.join(", ")
            ),
        ))
    }
}

/// What a failure of an object as a whole names: all of what was sent, where
/// the object is that.
fn within(path: &str) -> &str {
    if path.is_empty() { "body" } else { path }
}

/// The text that stands at a path.
pub(crate) fn text(path: &str, value: Value) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(path, &other, "a text")),
    }
}

pub(crate) fn wrong(path: &str, value: &Value, wanted: &str) -> Failure {
    let remedy = format!("Write {wanted}.");
    let reason = format!("{} stands where {wanted} belongs", kind(value));
    Failure::invalid(path, reason, remedy)
}
