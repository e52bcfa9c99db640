//! The rules of single sections of a catalog.

use super::Catalog;
use super::advice::Warning;
use super::parse::undeclared;
use super::together::{check_together, is_static};
use crate::failure::Failure;
use crate::names::GroupName;

/// AWS: "Maximum number of searchable attributes per thing type".
const MOST_SEARCHABLE: usize = 3;
/// AWS: a resource has at most this many tags.
const MOST_TAGS: usize = 50;
/// AWS: how long a tag's key and value may be, in characters.
const LONGEST_TAG_KEY: usize = 128;
const LONGEST_TAG_VALUE: usize = 256;

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
        let all = &self.dynamic_groups;
        let mut warnings = Vec::new();
        for (i, declared) in all.iter().enumerate() {
            let path = format!("dynamicGroups[{i}].");
            warnings.extend(declared.check(&path, all)?);
            let name = &declared.name;
            if name == default_group || self.groups.iter().any(|g| g.name == *name) {
                return Err(is_static(&path, name));
            }
            if let Some(job) = &declared.on_enter.job {
                let at = format!("{path}onEnter.job");
                let template = self.job_templates.iter().find(|t| t.name == *job);
                let template =
                    template.ok_or_else(|| undeclared(&at, "job template", job.as_str()))?;
                template.check_on_enter(&at, name)?;
            }
        }
        check_together(all)?;
        Ok(warnings)
    }
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
