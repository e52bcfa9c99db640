//! A caller's JSON object, taken apart field by field.
//!
//! A failure names the field at fault by its own name and repeats none of the
//! caller's values. A sequence is no object, and no key may come twice: of two
//! attributes with one name, a caller cannot know which one counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::{Map, Number, Value};

use crate::failure::Failure;
use crate::quote::quoted;

/// The fields of one object that have not been taken yet.
pub struct Fields {
    remedy: &'static str,
    object: Map<String, Value>,
}

impl Fields {
    /// Reads a body. `remedy` says what to send instead.
    ///
    /// # Errors
    /// `Invalid` for `body` when it is no JSON, no object, or has a key twice.
    pub fn parse(body: &[u8], remedy: &'static str) -> Result<Self, Failure> {
        let read: Unique = serde_json::from_slice(body).map_err(|error| {
            Failure::invalid("body", format!("the body does not parse: {error}"), remedy)
        })?;
        match read.0 {
            Value::Object(object) => Ok(Self { remedy, object }),
            other => Err(Failure::invalid(
                "body",
                format!("the body is {}, not an object", kind(&other)),
                remedy,
            )),
        }
    }

    /// Takes a text; null counts as absent.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        self.take(name)
            .map(|value| self.text_of(name, value))
            .transpose()
    }

    /// Takes a text that must be there.
    pub fn required_text(&mut self, name: &str) -> Result<String, Failure> {
        let text = self.text(name)?;
        text.ok_or_else(|| Failure::invalid(name, format!("{name} is missing"), self.remedy))
    }

    /// Takes a whole number that is not negative.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64();
        let wrong = || self.wrong(name, &value, "a whole number");
        number.map(Some).ok_or_else(wrong)
    }

    /// Takes true or false; false when it is absent.
    pub fn flag(&mut self, name: &str) -> Result<bool, Failure> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(name, &other, "true or false")),
        }
    }

    /// Takes a list of texts; empty when it is absent.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| self.text_of(name, value))
                .collect(),
            Some(other) => Err(self.wrong(name, &other, "a list of texts")),
        }
    }

    /// Takes an object of texts; empty when it is absent.
    pub fn text_map(&mut self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(values)) => values
                .into_iter()
                .map(|(key, value)| {
                    let text = self.text_of(name, value).map_err(|mut failure| {
                        failure.reason = format!("{}, at {}", failure.reason, quoted(&key));
                        failure
                    });
                    Ok((key, text?))
                })
                .collect(),
            Some(other) => Err(self.wrong(name, &other, "an object of texts")),
        }
    }

    /// Takes a text that may be null, which is then told from absent.
    pub fn nullable_text(&mut self, name: &str) -> Result<Option<Option<String>>, Failure> {
        match self.object.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => self.text_of(name, value).map(|text| Some(Some(text))),
        }
    }

    /// Takes an object of texts and nulls; empty when it is absent.
    pub fn nullable_text_map(
        &mut self,
        name: &str,
    ) -> Result<BTreeMap<String, Option<String>>, Failure> {
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(values)) => values
                .into_iter()
                .map(|(key, value)| match value {
                    Value::Null => Ok((key, None)),
                    value => Ok((key, Some(self.text_of(name, value)?))),
                })
                .collect(),
            Some(other) => Err(self.wrong(name, &other, "an object of texts")),
        }
    }

    /// Whether a field is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Refuses what nobody has taken.
    pub fn end(self) -> Result<(), Failure> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::invalid(
                "body",
                format!("there is no field {}", quoted(name)),
                self.remedy,
            )),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn text_of(&self, name: &str, value: Value) -> Result<String, Failure> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(name, &other, "a text")),
        }
    }

    fn wrong(&self, name: &str, value: &Value, wanted: &str) -> Failure {
        let reason = format!("{name} holds {} where {wanted} belongs", kind(value));
        Failure::invalid(name, reason, self.remedy)
    }
}

/// A text out of what a rule selected, where it may be absent or of any type.
pub fn selected<'a>(
    name: &str,
    value: Option<&'a Value>,
    remedy: &str,
) -> Result<&'a str, Failure> {
    match value {
        None | Some(Value::Null) => {
            Err(Failure::invalid(name, format!("{name} is missing"), remedy))
        }
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Failure::invalid(
            name,
            format!("{name} holds {} where a text belongs", kind(other)),
            remedy,
        )),
    }
}

/// An invocation's event as what it is to be. A list is none, although serde
/// would read a struct from one.
///
/// # Errors
/// `Invalid` for `event`; `what` completes "the event is …".
pub fn event<T: DeserializeOwned>(event: Value, what: &str, remedy: &str) -> Result<T, Failure> {
    let refuse =
        |why: String| Failure::invalid("event", format!("the event is {what}: {why}"), remedy);
    if !event.is_object() {
        return Err(refuse(format!("it is {}", kind(&event))));
    }
    serde_json::from_value(event).map_err(|error| refuse(error.to_string()))
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads JSON in which no object has a key twice.
pub(crate) fn unique_json(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text).map(|Unique(value)| value)
}

/// A value of JSON, or of YAML, in which no object has a key twice.
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key_seed(NewKey(&object))? {
            let Unique(value) = map.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// A key that an object has not yet. It is refused while it is read, so that the
/// error names its own line.
struct NewKey<'a>(&'a Map<String, Value>);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.0.contains_key(key) {
            return Err(E::custom(format!("{} comes twice", quoted(key))));
        }
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_yaml_a_key_that_comes_twice_is_named_with_its_line() {
        for (text, says) in [
            ("groups:\n  - name: a\nname: x\n", None),
            ("a: {b: 1}\nc: {b: 1}\n", None),
            ("1: a\n2: b\n", None),
            (
                "name: x\ngroups: [a]\nname: y\n",
                Some("\"name\" comes twice at line 3"),
            ),
            (
                "groups:\n  - name: a\n    name: b\n",
                Some("comes twice at line 3"),
            ),
            (
                "groups: [a]\npolicies: []\n\ngroups: [b]\n",
                Some("comes twice at line 4"),
            ),
        ] {
            let read = serde_yaml_ng::from_str::<Unique>(text);
            let error = read.err().map(|error| error.to_string());
            let fits = match (&error, says) {
                (Some(error), Some(says)) => error.contains(says),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{text}: {error:?}");
        }
    }

    fn check(body: &str, field: Option<&str>, says: &str) {
        let taken = Fields::parse(body.as_bytes(), "Send it.").and_then(|mut fields| {
            fields.required_text("name")?;
            fields.texts("list")?;
            fields.text_map("map")?;
            fields.end()
        });
        let failure = taken.err();
        let named = failure
            .as_ref()
            .and_then(|failure| failure.field.as_deref());
        assert_eq!(named, field, "{body}: {failure:?}");
        let reason = failure.map(|failure| failure.reason).unwrap_or_default();
        assert!(reason.contains(says), "{body}: {reason}");
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let good = r#"{"name": "a", "list": ["b"], "map": {"c": "d"}}"#;
        check(good, None, "");
        check(r#"{"name": "a", "list": null}"#, None, "");
        for (body, field, says) in [
            ("", "body", "EOF"),
            ("{", "body", "EOF"),
            ("[\"a\", [], {}]", "body", "a list, not an object"),
            ("\"a\"", "body", "a text"),
            ("{}", "name", "missing"),
            (r#"{"name": null}"#, "name", "missing"),
            (r#"{"name": 7}"#, "name", "a number"),
            (r#"{"name": "a", "list": "b"}"#, "list", "a list of texts"),
            (r#"{"name": "a", "list": [1.5]}"#, "list", "a number"),
            (r#"{"name": "a", "map": []}"#, "map", "an object of texts"),
            (
                r#"{"name": "a", "map": {"b": true}}"#,
                "map",
                "a text belongs, at \"b\"",
            ),
            (r#"{"name": "a", "colour": 1}"#, "body", "\"colour\""),
            (
                r#"{"name": "a", "name": "b"}"#,
                "body",
                "\"name\" comes twice",
            ),
            (
                r#"{"name": "a", "map": {"b": "1", "b": "2"}}"#,
                "body",
                "\"b\" comes twice",
            ),
        ] {
            check(body, Some(field), says);
        }
    }

    #[test]
    fn an_event_is_an_object() {
        #[derive(Debug, serde::Deserialize)]
        struct Step {
            name: String,
        }
        let read = |value| event::<Step>(value, "no step", "Send it.");
        assert_eq!(read(serde_json::json!({"name": "a"})).unwrap().name, "a");
        for wrong in [serde_json::json!(["a"]), serde_json::json!({})] {
            let failure = read(wrong).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("event"));
            assert!(failure.reason.contains("no step"), "{failure:?}");
        }
    }

    #[test]
    fn no_value_is_repeated() {
        let secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        for body in [
            format!(r#"{{"name": "a", "map": "{secret}"}}"#),
            format!(r#"{{"name": "a", "list": "{secret}"}}"#),
            format!(r#"{{"name": ["{secret}"]}}"#),
            format!(r#"{{"name": "a", "{secret}": 1}}"#),
            format!("{{{secret}"),
        ] {
            let taken = Fields::parse(body.as_bytes(), "Send it.").and_then(|mut fields| {
                fields.required_text("name")?;
                fields.texts("list")?;
                fields.text_map("map")?;
                fields.end()
            });
            let reason = taken.unwrap_err().reason;
            assert!(!reason.contains(&secret[24..]), "{reason}");
        }
    }
}
