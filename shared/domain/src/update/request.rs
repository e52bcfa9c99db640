//! What a caller asks for when a device is updated, checked at the edge.

use std::collections::{BTreeMap, BTreeSet};

use super::Desired;
use crate::device::DeviceRecord;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::names::{AttributeName, AttributeValue, BillingGroupName, GroupName, ThingTypeName};
use crate::quote::quoted;
use crate::request::{MOST_BODY_BYTES, one_key};

const SHAPE: &str = "Send JSON: {\"attributes\"?: {NAME: VALUE or null}, \"replaceAttributes\"?, \
                     \"groups\"? or \"joinGroups\"? and \"leaveGroups\"?, \
                     \"billingGroup\"?: NAME or null, \"thingType\"?, \"version\"?}.";

/// A request to update one device. What it does not name stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateRequest {
    /// Attributes to set, and those to remove.
    pub attributes: BTreeMap<AttributeName, Option<AttributeValue>>,
    /// The attributes above are all that the device is to have.
    pub replace_attributes: bool,
    /// All static groups that it is to be in.
    pub groups: Option<BTreeSet<GroupName>>,
    /// Static groups that it is to be in besides.
    pub join_groups: BTreeSet<GroupName>,
    /// Static groups that it is to be in no more.
    pub leave_groups: BTreeSet<GroupName>,
    /// The billing group that it is to be in, or none.
    pub billing_group: Option<Option<BillingGroupName>>,
    /// The thing type that it is to have.
    pub thing_type: Option<ThingTypeName>,
    /// The version that the caller has seen.
    pub expected: Option<Expected>,
    /// AWS is brought in line even if the registry is as asked.
    pub ensure: bool,
}

/// The version that a device must have for an update to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The version.
    pub version: u64,
    /// Whether the header `If-Match` says so, or the body.
    pub header: bool,
}

impl Expected {
    /// Refuses another version.
    ///
    /// # Errors
    /// `Conflict`: 412 for the header (RFC 9110), 409 for the body.
    pub(super) fn check(self, record: &DeviceRecord) -> Result<(), Failure> {
        if self.version == record.version {
            return Ok(());
        }
        let failure = Failure::conflict(
            "version",
            format!(
                "the device {} has the version {}, not {}",
                record.request.thing_name, record.version, self.version
            ),
            "Read the device again, and decide by what it is now.",
        );
        Err(if self.header {
            failure.status(412)
        } else {
            failure
        })
    }
}

impl UpdateRequest {
    /// Reads a JSON body and the headers `If-Match` and `Idempotency-Key`
    /// beside it; the key comes back apart.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(
        body: &[u8],
        if_match: Option<&str>,
        header_key: Option<&str>,
    ) -> Result<(Self, Option<String>), Failure> {
        if body.len() > MOST_BODY_BYTES {
            return Err(Failure::invalid(
                "body",
                format!("the body is {} bytes long", body.len()),
                format!("Send at most {MOST_BODY_BYTES} bytes."),
            )
            .status(413));
        }
        let mut fields = Fields::parse(body, SHAPE)?;
        let mut request = Self {
            groups: None,
            ..Self::default()
        };
        request.take_attributes(&mut fields)?;
        request.take_groups(&mut fields)?;
        request.billing_group = fields
            .nullable_text("billingGroup")?
            .map(|name| name.as_deref().map(BillingGroupName::parse).transpose())
            .transpose()?;
        request.thing_type = fields
            .text("thingType")?
            .as_deref()
            .map(ThingTypeName::parse)
            .transpose()?;
        request.expected = expected(fields.number("version")?, if_match)?;
        let key = one_key(fields.text("idempotencyKey")?.as_deref(), header_key)?;
        fields.end()?;
        if !(request.names_thing() || request.names_groups() || request.billing_group.is_some()) {
            return Err(Failure::invalid("body", "nothing is to be changed", SHAPE));
        }
        Ok((request, key))
    }

    fn take_attributes(&mut self, fields: &mut Fields) -> Result<(), Failure> {
        self.replace_attributes = fields.flag("replaceAttributes")?;
        if self.replace_attributes && !fields.has("attributes") {
            return Err(Failure::invalid(
                "attributes",
                "the attributes that replace all others are missing",
                "Send them, or an empty object to remove all.",
            ));
        }
        for (name, value) in fields.nullable_text_map("attributes")? {
            // AWS takes an empty value for the wish to remove the attribute.
            let value = value.filter(|value| !value.is_empty());
            let value = value.as_deref().map(AttributeValue::parse).transpose()?;
            self.attributes.insert(AttributeName::parse(&name)?, value);
        }
        Ok(())
    }

    fn take_groups(&mut self, fields: &mut Fields) -> Result<(), Failure> {
        let mut names = |field: &str| -> Result<Option<BTreeSet<GroupName>>, Failure> {
            let given = fields.has(field);
            let names = fields.texts(field)?;
            let names = names
                .iter()
                .map(|name| GroupName::parse(name).map_err(|failure| failure.field(field)));
            let names: BTreeSet<_> = names.collect::<Result<_, _>>()?;
            Ok(given.then_some(names))
        };
        self.groups = names("groups")?;
        self.join_groups = names("joinGroups")?.unwrap_or_default();
        self.leave_groups = names("leaveGroups")?.unwrap_or_default();
        let parts = !self.join_groups.is_empty() || !self.leave_groups.is_empty();
        if self.groups.is_some() && parts {
            return Err(Failure::invalid(
                "groups",
                "groups says all groups, joinGroups and leaveGroups say what changes",
                "Send groups alone, or the other two.",
            ));
        }
        if let Some(both) = self.join_groups.intersection(&self.leave_groups).next() {
            return Err(Failure::invalid(
                "leaveGroups",
                format!("{both} is to be joined and left"),
                "Name it once.",
            ));
        }
        Ok(())
    }

    /// Whether it is about attributes or the thing type.
    pub(super) fn names_thing(&self) -> bool {
        self.replace_attributes || !self.attributes.is_empty() || self.thing_type.is_some()
    }

    /// Whether it is about static groups.
    pub(super) fn names_groups(&self) -> bool {
        self.groups.is_some() || !self.join_groups.is_empty() || !self.leave_groups.is_empty()
    }

    /// What it makes of a device.
    pub(crate) fn applied_to(&self, before: &Desired) -> Desired {
        let mut after = before.clone();
        if self.replace_attributes {
            after.attributes.clear();
        }
        for (name, value) in &self.attributes {
            match value {
                Some(value) => drop(after.attributes.insert(name.clone(), value.clone())),
                None => drop(after.attributes.remove(name)),
            }
        }
        if let Some(groups) = &self.groups {
            after.groups.clone_from(groups);
        }
        after.groups.extend(self.join_groups.iter().cloned());
        after
            .groups
            .retain(|group| !self.leave_groups.contains(group));
        if let Some(group) = &self.billing_group {
            after.billing_group.clone_from(group);
        }
        if let Some(thing_type) = &self.thing_type {
            after.thing_type = Some(thing_type.clone());
        }
        after
    }
}

/// The one version that is expected, from the body or from `If-Match`, an
/// entity tag that holds it.
fn expected(body: Option<u64>, if_match: Option<&str>) -> Result<Option<Expected>, Failure> {
    let header = match if_match.map(str::trim) {
        None | Some("*") => None,
        Some(tag) => {
            let version = tag.trim_matches('"').parse().map_err(|_| {
                Failure::invalid(
                    "If-Match",
                    format!("{} is no version of a device", quoted(tag)),
                    "Send the ETag that the device was answered with.",
                )
            })?;
            Some(version)
        }
    };
    match (header, body) {
        (Some(header), Some(body)) if header != body => Err(Failure::invalid(
            "version",
            "the header If-Match and the body's version differ",
            "Send one of them, or the same in both.",
        )),
        (Some(version), _) => Ok(Some(Expected {
            version,
            header: true,
        })),
        (None, version) => Ok(version.map(|version| Expected {
            version,
            header: false,
        })),
    }
}
