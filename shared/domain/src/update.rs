//! Updates: attributes, static groups, billing group and thing type of a device
//! that is there.
//!
//! The plan says what the device is and what it is to be, and stands in the
//! registry before anything is done. What has to be done follows from a look at
//! AWS, so whoever takes an update up, or back, looks and goes on from there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::create::{GroupSeen, TypeSeen, admit_groups, admit_type, missing};
use crate::device::{DeviceRecord, DeviceStatus};
use crate::failure::{Failure, Kind};
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, OperationId, ThingName,
    ThingTypeName,
};
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::time::Moment;

mod effects;
mod request;
#[cfg(test)]
mod tests;

pub use effects::{Effect, Seen, effects};
pub use request::{Expected, UpdateRequest};

/// The part of a device that an update can change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// Its thing type, by AWS's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Its static groups.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// Its billing group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_group: Option<BillingGroupName>,
}

/// What an update looks at and changes; the rest is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Touched {
    /// Attributes and thing type, which AWS changes at once.
    pub thing: bool,
    /// Static groups.
    pub groups: bool,
    /// The billing group.
    pub billing_group: bool,
}

/// What an update makes of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdatePlan {
    /// What the device was.
    pub before: Desired,
    /// What it is to be.
    pub after: Desired,
    /// What of that the update is about.
    pub touched: Touched,
    /// The groups that it is to leave, be it in them by the registry or not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leave: BTreeSet<GroupName>,
}

/// What AWS holds of what an update needs to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The thing type that the device is to have.
    pub thing_type: Option<TypeSeen>,
    /// The groups that it is to be in.
    pub groups: Vec<(GroupName, Option<GroupSeen>)>,
    /// The groups that it was in and is to leave.
    pub left: Vec<(GroupName, Option<GroupSeen>)>,
    /// Whether the billing group that it is to be in exists.
    pub billing_group: bool,
}

impl Desired {
    /// What a device's record says of it.
    pub fn of(record: &DeviceRecord) -> Self {
        let request = &record.request;
        Self {
            thing_type: request.thing_type.clone(),
            attributes: request.attributes.clone(),
            groups: request.groups.clone(),
            billing_group: request.billing_group.clone(),
        }
    }

    /// The names of the fields in which another differs.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        [
            ("thingType", self.thing_type != other.thing_type),
            ("attributes", self.attributes != other.attributes),
            ("groups", self.groups != other.groups),
            ("billingGroup", self.billing_group != other.billing_group),
        ]
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
    }
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The device is as asked.
    Unchanged,
    /// It is to be changed.
    Begin(Box<UpdatePlan>),
}

/// What stands in an update's way, or helps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// An update that was left half done is to be ended first.
    Abandoned,
}

/// Whether a device can be updated, by its record and the operation that the
/// record names.
///
/// # Errors
/// `Busy` while a creation or another update works on it, `Conflict` once it is
/// being deleted.
pub fn standing(
    record: &DeviceRecord,
    operation: Option<&Operation>,
    now: Moment,
) -> Result<Standing, Failure> {
    let name = &record.request.thing_name;
    match record.status {
        DeviceStatus::Creating => {
            Err(Failure::busy("the device is being created at this moment", 1).field("thingName"))
        }
        DeviceStatus::Deleting => Err(Failure::conflict(
            "thingName",
            format!("the device {name} is being deleted"),
            "Create it anew once it is gone.",
        )),
        DeviceStatus::Stuck => Err(Failure::new(
            Kind::Stuck,
            format!("the creation of {name} failed and could not be undone"),
            "Delete the device, then create it again.",
        )),
        DeviceStatus::Active => match operation.filter(|operation| at_work(operation)) {
            Some(update) if now < update.lease_until => {
                let seconds = now.until(update.lease_until).div_ceil(1000);
                let busy = Failure::busy("another update works on the device", seconds.min(5));
                Err(busy.field("thingName"))
            }
            Some(_) => Ok(Standing::Abandoned),
            None => Ok(Standing::Free),
        },
    }
}

fn at_work(operation: &Operation) -> bool {
    let open = matches!(
        operation.status,
        OperationStatus::Running | OperationStatus::Undoing
    );
    operation.kind == OperationKind::Update && open
}

/// Decides an update of a device that can be updated. A device that names no
/// group is in the default group, as when it is created.
///
/// # Errors
/// `Invalid` for what AWS would refuse, `Conflict` when the device has another
/// version than expected; one that is as asked already is no conflict.
pub fn decide(
    request: &UpdateRequest,
    record: &DeviceRecord,
    default_group: &GroupName,
) -> Result<Decision, Failure> {
    let before = Desired::of(record);
    let mut after = request.applied_to(&before);
    if after.groups.is_empty() {
        after.groups.insert(default_group.clone());
    }
    let differing = before.differing(&after);
    if differing.is_empty() && !request.ensure {
        return Ok(Decision::Unchanged);
    }
    if let Some(expected) = &request.expected {
        expected.check(record)?;
    }
    let mut whole = record.request.clone();
    whole.thing_type.clone_from(&after.thing_type);
    whole.attributes.clone_from(&after.attributes);
    whole.groups.clone_from(&after.groups);
    whole.within_limits()?;
    let differs = |field| differing.contains(&field);
    let touched = Touched {
        thing: differs("thingType") || differs("attributes") || request.names_thing(),
        groups: differs("groups") || request.names_groups(),
        billing_group: differs("billingGroup") || request.billing_group.is_some(),
    };
    Ok(Decision::Begin(Box::new(UpdatePlan {
        before,
        after,
        touched,
        leave: request.leave_groups.clone(),
    })))
}

impl UpdatePlan {
    /// Refuses an update that AWS would refuse half way, or that would leave a
    /// device which can do nothing.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn admit(&self, seen: &Surroundings) -> Result<(), Failure> {
        if self.touched.thing && self.before.thing_type != self.after.thing_type {
            admit_type(self.after.thing_type.as_ref(), seen.thing_type)?;
        }
        if let (true, Some(name), false) = (
            self.touched.billing_group,
            &self.after.billing_group,
            seen.billing_group,
        ) {
            return Err(missing("billingGroup", "billing group", name.as_str()));
        }
        if self.touched.groups {
            admit_groups(&seen.groups)?;
        }
        Ok(())
    }

    /// The operation as its beginning writes it.
    pub fn operation(
        &self,
        id: OperationId,
        thing_name: &ThingName,
        now: Moment,
        lease_until: Moment,
    ) -> Operation {
        Operation {
            lease_until,
            attempt: 1,
            update: Some(self.clone()),
            ..Operation::begun(id, OperationKind::Update, thing_name.clone(), now)
        }
    }

    /// Every group that the update is about.
    pub fn groups(&self) -> BTreeSet<GroupName> {
        let named = [&self.before.groups, &self.after.groups, &self.leave];
        named.into_iter().flatten().cloned().collect()
    }

    /// What an operation is to make of the device: what was asked for, or what
    /// it was, if that is being taken back.
    pub fn target(&self, status: OperationStatus) -> &Desired {
        match status {
            OperationStatus::Undoing => &self.before,
            _ => &self.after,
        }
    }
}
