//! From JSON to a checked catalog; a failure names the path and the remedy.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::advice::advise;
use super::template::check_template;
use super::{Catalog, Group, check_document};
use crate::claim::Profile;
use crate::failure::Failure;
use crate::fields::{kind, unique_json};
use crate::names::{CatalogName, GroupName, ThingName};
use crate::request::CreateRequest;

/// A catalog's JSON is at most this long.
const MOST_BODY_BYTES: usize = 512 * 1024;
/// AWS: "Maximum depth of a thing group hierarchy".
const DEEPEST: usize = 7;
/// AWS: "Maximum number of attributes of a thing group".
const MOST_GROUP_ATTRIBUTES: usize = 50;
/// AWS: a topic has at most this many bytes, and this many slashes.
const MOST_TOPIC_BYTES: usize = 256;
const MOST_TOPIC_SLASHES: usize = 7;
/// AWS: a thing's name has at most this many characters.
const LONGEST_NAME: usize = 128;

/// The name of a catalog that says none.
const UNNAMED: &str = "default";

const SECTIONS: [&str; 7] = [
    "thingTypes",
    "policies",
    "groups",
    "billingGroups",
    "profiles",
    "dynamicGroups",
    "jobTemplates",
];

impl Catalog {
    /// Reads and checks a catalog. `default_group` is the stack's own: profiles
    /// may name it, the catalog may not declare it.
    pub fn parse(json: &[u8], default_group: &GroupName) -> Result<Self, Failure> {
        let mut sections = sections(json)?;
        let mut catalog = Self {
            name: name(&mut sections)?,
            thing_types: section(&mut sections, "thingTypes")?,
            policies: section(&mut sections, "policies")?,
            groups: section(&mut sections, "groups")?,
            billing_groups: section(&mut sections, "billingGroups")?,
            profiles: section(&mut sections, "profiles")?,
            dynamic_groups: section(&mut sections, "dynamicGroups")?,
            job_templates: section(&mut sections, "jobTemplates")?,
            warnings: Vec::new(),
        };
        catalog.names_are_unique()?;
        for (i, policy) in catalog.policies.iter().enumerate() {
            let path = format!("policies[{i}].document");
            check_document(&path, &policy.document)?;
            catalog.warnings.extend(advise(&path, &policy.document));
        }
        for (i, group) in catalog.groups.iter().enumerate() {
            catalog.check_group(&format!("groups[{i}]"), group, default_group)?;
        }
        for (i, profile) in catalog.profiles.iter().enumerate() {
            catalog.check_profile(&format!("profiles[{i}]"), profile, default_group)?;
        }
        catalog.check_types()?;
        catalog.check_billing_groups()?;
        for (i, template) in catalog.job_templates.iter().enumerate() {
            check_template(&format!("jobTemplates[{i}]"), template)?;
        }
        let warnings = catalog.check_dynamic_groups(default_group)?;
        catalog.warnings.extend(warnings);
        catalog.sort_groups();
        Ok(catalog)
    }

    fn names_are_unique(&self) -> Result<(), Failure> {
        unique(
            "thingTypes",
            self.thing_types.iter().map(|t| t.name.as_str()),
        )?;
        unique("policies", self.policies.iter().map(|p| p.name.as_str()))?;
        unique("groups", self.groups.iter().map(|g| g.name.as_str()))?;
        unique(
            "billingGroups",
            self.billing_groups.iter().map(|b| b.name.as_str()),
        )?;
        unique("profiles", self.profiles.iter().map(|p| p.name.as_str()))?;
        unique(
            "dynamicGroups",
            self.dynamic_groups.iter().map(|d| d.name.as_str()),
        )?;
        unique(
            "jobTemplates",
            self.job_templates.iter().map(|t| t.name.as_str()),
        )
    }

    fn check_group(
        &self,
        path: &str,
        group: &Group,
        default_group: &GroupName,
    ) -> Result<(), Failure> {
        if group.name == *default_group {
            return Err(Failure::invalid(
                &format!("{path}.name"),
                format!("{default_group} is the stack's own group"),
                "Choose another name; profiles may name the group without declaring it.",
            ));
        }
        if let Some(parent) = &group.parent
            && !self.groups.iter().any(|other| other.name == *parent)
        {
            return Err(undeclared(
                &format!("{path}.parent"),
                "group",
                parent.as_str(),
            ));
        }
        let depth = self.lineage(&group.name).count();
        if depth > self.groups.len() {
            return Err(Failure::invalid(
                &format!("{path}.parent"),
                format!("the group {} is above itself", group.name),
                "Break the circle of parents.",
            ));
        }
        if depth > DEEPEST {
            return Err(Failure::invalid(
                &format!("{path}.parent"),
                format!("the group {} is {depth} levels deep", group.name),
                format!("AWS allows {DEEPEST} levels."),
            ));
        }
        if group.attributes.len() > MOST_GROUP_ATTRIBUTES {
            return Err(Failure::invalid(
                &format!("{path}.attributes"),
                format!(
                    "the group {} has {} attributes",
                    group.name,
                    group.attributes.len()
                ),
                format!("AWS allows {MOST_GROUP_ATTRIBUTES}."),
            ));
        }
        match group
            .policies
            .iter()
            .find(|name| !self.policies.iter().any(|p| p.name == **name))
        {
            Some(name) => Err(undeclared(
                &format!("{path}.policies"),
                "policy",
                name.as_str(),
            )),
            None => Ok(()),
        }
    }

    fn check_profile(
        &self,
        path: &str,
        profile: &Profile,
        default_group: &GroupName,
    ) -> Result<(), Failure> {
        if let Some(name) = &profile.thing_type
            && !self.thing_types.iter().any(|t| t.name == *name)
        {
            return Err(undeclared(
                &format!("{path}.thingType"),
                "thing type",
                name.as_str(),
            ));
        }
        if let Some(name) = &profile.billing_group
            && !self.billing_groups.iter().any(|b| b.name == *name)
        {
            return Err(undeclared(
                &format!("{path}.billingGroup"),
                "billing group",
                name.as_str(),
            ));
        }
        self.check_profile_groups(&format!("{path}.groups"), profile, default_group)?;
        within_limits(path, profile)?;
        for topic in &profile.retained_topics {
            check_topic(&format!("{path}.retainedTopics"), topic)?;
        }
        Ok(())
    }

    /// What a claim creates must be creatable, so the rules are those of a
    /// creation: one group of a hierarchy, and a policy somewhere.
    fn check_profile_groups(
        &self,
        path: &str,
        profile: &Profile,
        default_group: &GroupName,
    ) -> Result<(), Failure> {
        let mut roots: Vec<(&GroupName, &GroupName)> = Vec::new();
        // No group at all means the default group, which bears its policy.
        let mut policy = profile.groups.is_empty();
        for name in &profile.groups {
            let root = if name == default_group {
                policy = true;
                name
            } else {
                let last = self.lineage(name).last();
                &last
                    .ok_or_else(|| undeclared(path, "group", name.as_str()))?
                    .name
            };
            policy |= self.lineage(name).any(|group| !group.policies.is_empty());
            if let Some((_, other)) = roots.iter().find(|(seen, _)| *seen == root) {
                return Err(Failure::invalid(
                    path,
                    format!("{other} and {name} belong to one hierarchy"),
                    "AWS allows a thing one group of a hierarchy; name the lower one.",
                ));
            }
            roots.push((root, name));
        }
        if policy {
            return Ok(());
        }
        Err(Failure::invalid(
            path,
            format!(
                "no group of the profile {}, nor any above one, bears a policy: its devices could do nothing",
                profile.name
            ),
            "Give one of the groups, or one above it, a policy.",
        ))
    }

    /// Parents first, and otherwise as declared.
    fn sort_groups(&mut self) {
        let depths: std::collections::BTreeMap<_, _> = self
            .groups
            .iter()
            .map(|g| (g.name.clone(), self.lineage(&g.name).count()))
            .collect();
        self.groups.sort_by_key(|group| depths[&group.name]);
    }
}

/// The name that stands beside the sections, if one does.
fn name(sections: &mut Map<String, Value>) -> Result<CatalogName, Failure> {
    match sections.remove("name") {
        None | Some(Value::Null) => CatalogName::parse(UNNAMED),
        Some(Value::String(name)) => CatalogName::parse(&name),
        Some(_) => Err(Failure::invalid(
            "name",
            "the catalog's name is no text",
            "Write a name, with quotes if it is a number.",
        )),
    }
}

fn sections(json: &[u8]) -> Result<Map<String, Value>, Failure> {
    if json.len() > MOST_BODY_BYTES {
        return Err(Failure::invalid(
            "body",
            format!("the catalog is {} bytes long", json.len()),
            format!("Send at most {MOST_BODY_BYTES} bytes."),
        )
        .status(413));
    }
    let remedy = format!("Send a JSON object with any of {}.", SECTIONS.join(", "));
    let refuse = |why: &str| {
        let reason = format!("the body is not a catalog: {why}");
        Failure::invalid("body", reason, remedy.clone())
    };
    // Of two sections of one name, one would go, and what it declares with it.
    let read = unique_json(json).map_err(|error| refuse(&error.to_string()))?;
    let Value::Object(sections) = read else {
        return Err(refuse(&format!("it is {}, not an object", kind(&read))));
    };
    match sections
        .keys()
        .find(|key| *key != "name" && !SECTIONS.contains(&key.as_str()))
    {
        Some(key) => Err(Failure::invalid(
            key,
            format!("a catalog has no section {key}"),
            remedy,
        )),
        None => Ok(sections),
    }
}

/// The entries of one section. YAML leaves `null` where nothing is declared.
fn section<T: DeserializeOwned>(
    sections: &mut Map<String, Value>,
    name: &str,
) -> Result<Vec<T>, Failure> {
    let entries = match sections.remove(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            return Err(Failure::invalid(
                name,
                format!("{name} is no list"),
                "Write a list, each entry with a name.",
            ));
        }
    };
    entries
        .into_iter()
        .enumerate()
        .map(|(i, entry)| read_entry(&format!("{name}[{i}]"), entry))
        .collect()
}

/// One entry. It is read again field by field when it does not parse, so that
/// the failure leads to the field.
fn read_entry<T: DeserializeOwned>(path: &str, entry: Value) -> Result<T, Failure> {
    let fields = entry.as_object().cloned();
    serde_json::from_value(entry).map_err(|error| {
        let culprit = fields.iter().flatten().find_map(|(name, value)| {
            // A field is at fault if the entry, reduced to it, complains of the same.
            let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
            let complaint = serde_json::from_value::<T>(alone).err()?.to_string();
            (complaint == error.to_string() && !complaint.starts_with("missing field"))
                .then_some(name)
        });
        let path = culprit.map_or_else(|| path.to_owned(), |name| format!("{path}.{name}"));
        let complaint = error.to_string();
        // A name's own complaint begins with its kind and field; the path says that better.
        let reason = complaint
            .strip_prefix("Invalid: ")
            .and_then(|rest| rest.split_once(": "));
        Failure::invalid(
            &path,
            reason.map_or(complaint.as_str(), |(_, reason)| reason),
            "Correct the entry; numbers and dates that are meant as text need quotes in YAML.",
        )
    })
}

fn unique<'a>(section: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name) {
            return Err(Failure::invalid(
                &format!("{section}[{i}].name"),
                format!("{name} is declared twice"),
                "Declare it once.",
            ));
        }
    }
    Ok(())
}

pub(super) fn undeclared(path: &str, what: &str, name: &str) -> Failure {
    Failure::invalid(
        path,
        format!("the catalog declares no {what} {name}"),
        format!("Declare the {what}, or correct the name."),
    )
}

/// The limits of a creation hold for what a claim under the profile creates.
fn within_limits(path: &str, profile: &Profile) -> Result<(), Failure> {
    let request = CreateRequest {
        thing_name: ThingName::parse("any")?,
        thing_type: profile.thing_type.clone(),
        attributes: profile.attributes.clone(),
        groups: profile.groups.clone(),
        billing_group: profile.billing_group.clone(),
        csr: None,
        issuer: profile.issuer,
        profile: None,
    };
    request.within_limits().map_err(|failure| {
        let path = format!("{path}.{}", failure.field.as_deref().unwrap_or_default());
        failure.field(&path)
    })
}

fn check_topic(path: &str, topic: &str) -> Result<(), Failure> {
    let refused = |reason: &str, remedy: &str| {
        Err(Failure::invalid(
            path,
            format!("the topic {topic:?} {reason}"),
            remedy,
        ))
    };
    if !topic.contains("{thingName}") {
        return refused(
            "does not name the device",
            "Put {thingName} where the device's name goes; a topic that devices share is not one device's to clear.",
        );
    }
    if topic.contains(['+', '#', '\0']) || topic.starts_with('$') {
        return refused(
            "is not one that a message can be retained on",
            "Write it without + and #, and not under $.",
        );
    }
    let bytes = topic
        .replace("{thingName}", &"x".repeat(LONGEST_NAME))
        .len();
    if bytes > MOST_TOPIC_BYTES || topic.matches('/').count() > MOST_TOPIC_SLASHES {
        return refused(
            "may become too long",
            "AWS allows 256 bytes, with a thing name of 128 in it, and 7 slashes.",
        );
    }
    Ok(())
}
