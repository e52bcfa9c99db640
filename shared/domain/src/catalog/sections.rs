//! The rules of single sections of a catalog.

use std::collections::BTreeSet;

use super::Catalog;
use super::advice::Warning;
use super::definition::{Definition, Materialize, check_query};
use super::parse::undeclared;
use crate::failure::Failure;
use crate::membership::Definitions;
use crate::names::GroupName;

/// AWS: "Maximum number of searchable attributes per thing type".
const MOST_SEARCHABLE: usize = 3;
/// AWS: a resource has at most this many tags.
const MOST_TAGS: usize = 50;
/// AWS: how long a tag's key and value may be, in characters.
const LONGEST_TAG_KEY: usize = 128;
const LONGEST_TAG_VALUE: usize = 256;
/// AWS: "Maximum number of dynamic groups" of an account.
const MOST_NATIVE: usize = 100;

impl Catalog {
    pub(super) fn check_types(&self) -> Result<(), Failure> {
        for (i, thing_type) in self.thing_types.iter().enumerate() {
            let count = thing_type.searchable_attributes.len();
            if count > MOST_SEARCHABLE {
                return Err(Failure::invalid(
                    &format!("thingTypes[{i}].searchableAttributes"),
                    format!(
                        "the thing type {} has {count} searchable attributes",
                        thing_type.name
                    ),
                    format!("AWS allows {MOST_SEARCHABLE}."),
                ));
            }
            let later =
                |other: &&super::ThingType| is_later(other.name.as_str(), thing_type.name.as_str());
            if let Some(other) = self.thing_types.iter().find(later) {
                return Err(Failure::invalid(
                    &format!("thingTypes[{i}].name"),
                    format!(
                        "{} would be the name of {} once that is changed",
                        thing_type.name, other.name
                    ),
                    "Choose a name that does not end in -v and a number.",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_billing_groups(&self) -> Result<(), Failure> {
        for (i, group) in self.billing_groups.iter().enumerate() {
            let path = format!("billingGroups[{i}].tags");
            if group.tags.len() > MOST_TAGS {
                return Err(Failure::invalid(
                    &path,
                    format!("{} tags are given", group.tags.len()),
                    format!("AWS allows {MOST_TAGS}."),
                ));
            }
            let bad = group.tags.iter().find(|(key, value)| {
                !is_tag(key, 1, LONGEST_TAG_KEY)
                    || !is_tag(value, 0, LONGEST_TAG_VALUE)
                    || key.to_ascii_lowercase().starts_with("aws:")
            });
            if let Some((key, _)) = bad {
                return Err(Failure::invalid(
                    &format!("{path}.{key}"),
                    "AWS does not take this tag",
                    "Use letters, digits, spaces and _ . : / = + - @, and no key that begins with aws:.",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_dynamic_groups(
        &self,
        default_group: &GroupName,
    ) -> Result<Vec<Warning>, Failure> {
        let mut warnings = Vec::new();
        for (i, declared) in self.dynamic_groups.iter().enumerate() {
            let path = format!("dynamicGroups[{i}]");
            warnings.extend(check_query(&format!("{path}.query"), declared)?);
            let name = &declared.name;
            if name == default_group || self.groups.iter().any(|g| g.name == *name) {
                return Err(Failure::invalid(
                    &format!("{path}.name"),
                    format!("{name} is a static group"),
                    "Choose another name: what is materialised is a group of the same name.",
                ));
            }
            if let Some(parent) = &declared.parent
                && !self.dynamic_groups.iter().any(|d| d.name == *parent)
            {
                let at = format!("{path}.parent");
                return Err(undeclared(&at, "dynamic group", parent.as_str()));
            }
            if self.is_above_itself(name) {
                return Err(Failure::invalid(
                    &format!("{path}.parent"),
                    format!("the dynamic group {name} is above itself"),
                    "Break the circle of parents.",
                ));
            }
            if declared.materialize == Materialize::Native {
                native_is_possible(&path, declared)?;
            }
            if let Some(job) = &declared.on_enter.job
                && !self.job_templates.iter().any(|t| t.name == *job)
            {
                let at = format!("{path}.onEnter.job");
                return Err(undeclared(&at, "job template", job.as_str()));
            }
        }
        let native = |d: &&Definition| d.materialize == Materialize::Native;
        let count = self.dynamic_groups.iter().filter(native).count();
        if count > MOST_NATIVE {
            return Err(Failure::invalid(
                "dynamicGroups",
                format!("{count} dynamic groups are to be AWS's own"),
                format!("AWS allows {MOST_NATIVE} in an account; materialise the rest as static."),
            ));
        }
        match self.refused_together() {
            Some(failure) => Err(failure),
            None => Ok(warnings),
        }
    }

    /// Each query may be read, and yet one of them depend on itself.
    fn refused_together(&self) -> Option<Failure> {
        let definitions = Definitions::compile(0, self.dynamic_groups.iter().cloned());
        let (name, failure) = definitions.refused.into_iter().next()?;
        let at = self
            .dynamic_groups
            .iter()
            .position(|d| d.name.as_str() == name);
        Some(failure.field(&format!("dynamicGroups[{}].query", at.unwrap_or_default())))
    }

    fn is_above_itself(&self, name: &GroupName) -> bool {
        let parent = |name: &GroupName| {
            let declared = self.dynamic_groups.iter().find(|d| d.name == *name);
            declared.and_then(|d| d.parent.clone())
        };
        let mut seen = BTreeSet::from([name.clone()]);
        let mut next = parent(name);
        while let Some(above) = next {
            if !seen.insert(above.clone()) {
                return above == *name;
            }
            next = parent(&above);
        }
        false
    }
}

/// AWS's own dynamic groups neither compare versions nor nest.
fn native_is_possible(path: &str, declared: &Definition) -> Result<(), Failure> {
    let (field, what) = match (&declared.parent, declared.semver) {
        (_, true) => ("semver", "compare versions"),
        (Some(_), _) => ("parent", "look into each other"),
        (None, false) => return Ok(()),
    };
    Err(Failure::invalid(
        &format!("{path}.{field}"),
        format!("AWS's own dynamic groups do not {what}"),
        "Materialise it as static, or not at all.",
    ))
}

/// Whether one name is what the other becomes when its type is changed.
fn is_later(name: &str, later: &str) -> bool {
    let number = later
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix("-v"));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_tag(text: &str, least: usize, most: usize) -> bool {
    let length = text.chars().count();
    let taken = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    (least..=most).contains(&length) && text.chars().all(taken)
}
