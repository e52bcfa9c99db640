//! A device's document: what a query is asked about.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::Value;
use crate::failure::Failure;

/// Static groups and the billing group.
pub(crate) const GROUPS: &str = "thingGroupNames";
/// Dynamic groups, for definitions that nest (beyond AWS).
pub(crate) const DYNAMIC_GROUPS: &str = "dynamicGroupNames";

/// Everything that can be searched of one device, by field.
///
/// Nested keys and keys with dots in them are the same field. Nulls are
/// absent; an array is a field if all its elements are simple. Versions are
/// in AWS's answers and cannot be searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    fields: BTreeMap<String, Vec<Value>>,
}

impl Document {
    /// From `{thingName, thingTypeName, thingGroupNames, billingGroupName,
    /// attributes, shadow, connectivity, deviceDefender}`. What else it has is
    /// passed over. Invalid: it is no JSON object.
    pub fn from_json(document: &Json) -> Result<Self, Failure> {
        if !document.is_object() {
            return Err(Failure::invalid(
                "device",
                "the device's document is no JSON object",
                "Give an object with thingName, attributes, shadow and so on.",
            ));
        }
        let mut fields = BTreeMap::<String, Vec<Value>>::new();
        // A stack of our own: a document may be nested deeper than ours.
        let mut open = vec![(String::new(), document)];
        while let Some((path, value)) = open.pop() {
            match value {
                Json::Object(children) => open.extend(children.iter().map(|(key, child)| {
                    let path = match path.as_str() {
                        "" => key.clone(),
                        path => format!("{path}.{key}"),
                    };
                    (path, child)
                })),
                leaf => {
                    if let Some(path) = field_of(path) {
                        let values = values(leaf, path.starts_with("attributes."));
                        if !values.is_empty() {
                            fields.entry(path).or_default().extend(values);
                        }
                    }
                }
            }
        }
        Ok(Self { fields })
    }

    /// The same device as a member of these dynamic groups, for definitions
    /// that nest.
    #[must_use]
    pub fn with_dynamic_groups<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let values: Vec<_> = names
            .into_iter()
            .map(|name| Value::text(name, false))
            .collect();
        if values.is_empty() {
            self.fields.remove(DYNAMIC_GROUPS);
        } else {
            self.fields.insert(DYNAMIC_GROUPS.to_owned(), values);
        }
        self
    }

    /// The values of a field; none if the device has no such field.
    pub(crate) fn field(&self, name: &str) -> &[Value] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    /// A field that the device has: its name as the document has it, and its
    /// values.
    pub(crate) fn field_named(&self, name: &str) -> Option<(&str, &[Value])> {
        self.fields
            .get_key_value(name)
            .map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Visits every field whose values differ, with those here and those
    /// there.
    pub(crate) fn each_difference<'a>(
        &'a self,
        other: &'a Self,
        mut visit: impl FnMut(&'a str, &'a [Value], &'a [Value]),
    ) {
        let (mut ours, mut theirs) = (self.fields().peekable(), other.fields().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((ours, _)), Some((theirs, _))) => ours.cmp(theirs),
            };
            let old = if order.is_le() { ours.next() } else { None };
            let new = if order.is_ge() { theirs.next() } else { None };
            match (old, new) {
                (Some((name, old)), Some((_, new))) if old != new => visit(name, old, new),
                (Some((name, old)), None) => visit(name, old, &[]),
                (None, Some((name, new))) => visit(name, &[], new),
                _ => {}
            }
        }
    }

    /// All fields with their values, in the order of their names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[Value])> {
        self.fields
            .iter()
            .map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}

/// The field under which a path of the document is searched, if it is.
fn field_of(path: String) -> Option<String> {
    let searched = match path.split_once('.') {
        None => match path.as_str() {
            "billingGroupName" => return Some(GROUPS.to_owned()),
            "thingName" | "thingTypeName" | "thingId" | GROUPS | DYNAMIC_GROUPS => true,
            _ => false,
        },
        Some(("attributes" | "deviceDefender", _)) => true,
        Some(("connectivity", rest)) => rest != "version",
        Some(("shadow", rest)) => match rest.strip_prefix("name.") {
            Some(named) => named
                .split_once('.')
                .is_some_and(|(_, rest)| is_of_a_shadow(rest)),
            None => is_of_a_shadow(rest),
        },
        Some(_) => false,
    };
    searched.then_some(path)
}

fn is_of_a_shadow(path: &str) -> bool {
    match path.split_once('.') {
        None => path == "hasDelta",
        Some((section, _)) => matches!(section, "reported" | "desired" | "delta" | "metadata"),
    }
}

/// Whether words without a field are searched in this one: registry, shadow
/// and Device Defender are, presence is not.
pub(crate) fn is_searched_by_bare_words(field: &str) -> bool {
    field != DYNAMIC_GROUPS && !field.starts_with("connectivity.")
}

fn values(leaf: &Json, may_spell_numbers: bool) -> Vec<Value> {
    match leaf {
        Json::Array(elements) => elements
            .iter()
            .map(|element| Value::simple(element, may_spell_numbers))
            .collect::<Option<_>>()
            .unwrap_or_default(),
        leaf => Value::simple(leaf, may_spell_numbers).into_iter().collect(),
    }
}

/// Why no device can have a field of this name, and what was meant perhaps.
pub(crate) fn why_impossible(field: &str) -> Option<String> {
    if field == DYNAMIC_GROUPS {
        return Some(
            "it is Lamplighter's own, for definitions that are marked as going beyond AWS"
                .to_owned(),
        );
    }
    // What is under a prefix may be called anything.
    let probe = if field.ends_with('.') {
        format!("{field}x")
    } else {
        field.to_owned()
    };
    if field == "billingGroupName" {
        return Some("billing groups are searched as thingGroupNames".to_owned());
    }
    if field_of(probe).is_some() {
        return None;
    }
    let meant = [
        "thingName",
        "thingTypeName",
        "thingGroupNames",
        "attributes.",
        "shadow.hasDelta",
        "shadow.reported.",
        "shadow.desired.",
        "shadow.delta.",
        "shadow.name.",
        "connectivity.",
        "deviceDefender.",
    ]
    .into_iter()
    .find(|known| {
        field
            .get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known))
    });
    Some(match (field, meant) {
        ("thingType", _) => "it is called thingTypeName".to_owned(),
        ("thingGroup" | "thingGroups" | "groups", _) => "it is called thingGroupNames".to_owned(),
        (_, Some(known)) if !field.starts_with(known) => {
            format!("names are case-sensitive: {}", known.trim_end_matches('.'))
        }
        _ if field.ends_with("version") => "versions cannot be searched".to_owned(),
        _ => "fields are thingName, thingTypeName, thingGroupNames, attributes.…, \
              shadow.reported.… (desired, delta), shadow.name.….reported.…, \
              shadow.hasDelta, connectivity.… and deviceDefender.…"
            .to_owned(),
    })
}
