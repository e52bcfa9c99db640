//! What is announced on the bus: operations that have ended, and groups that
//! devices entered and left.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::membership::Step;
use crate::names::{CertificateId, GroupName, OperationId, ThingName, ThingTypeName};
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::time::Moment;

/// Who announces.
pub const SOURCE: &str = "lamplighter";

/// One domain event. It may be announced twice; its id is the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The event's name.
    pub detail_type: &'static str,
    /// The event.
    pub detail: Told,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// An operation has ended.
    Ended(Box<Detail>),
    /// A device entered or left a group.
    Moved(Step),
}

impl Announcement {
    /// When it happened.
    pub fn at(&self) -> Moment {
        match &self.detail {
            Told::Ended(detail) => detail.at,
            Told::Moved(step) => step.at,
        }
    }

    /// By what it is known that it was announced before.
    pub fn id(&self) -> &str {
        match &self.detail {
            Told::Ended(detail) => detail.operation_id.as_str(),
            Told::Moved(step) => &step.id,
        }
    }
}

impl From<Step> for Announcement {
    fn from(step: Step) -> Self {
        Self {
            detail_type: if step.entered {
                "GroupEntered"
            } else {
                "GroupLeft"
            },
            detail: Told::Moved(step),
        }
    }
}

/// What the event tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The operation that ended.
    pub operation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// When the operation ended.
    pub at: Moment,
    /// The certificate that the device was created with, or has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// The device's thing type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// The static groups that the device was created in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<GroupName>>,
    /// Why a renewal came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What one change of an operation's row announces: its end, if anybody waits
/// to hear of it. Who asked for a creation is told by its answer that it failed.
pub fn announcement(before: Option<OperationStatus>, after: &Operation) -> Option<Announcement> {
    if before == Some(after.status) {
        return None;
    }
    let detail_type = match (after.kind, after.status) {
        (OperationKind::Create, OperationStatus::Done) => "DeviceCreated",
        (OperationKind::Update, OperationStatus::Done) => "DeviceUpdated",
        (OperationKind::Delete, OperationStatus::Done) => "DeviceDeleted",
        (OperationKind::Renew, OperationStatus::Done) => "CertificateRenewed",
        (OperationKind::Renew, OperationStatus::Failed) => "CertificateRenewalFailed",
        _ => return None,
    };
    let request = after.plan.as_ref().map(|plan| &plan.request);
    Some(Announcement {
        detail_type,
        detail: Told::Ended(Box::new(Detail {
            operation_id: after.operation_id.clone(),
            thing_name: after.thing_name.clone(),
            at: after.ended_at.unwrap_or(after.started_at),
            certificate_id: after.certificate_id.clone().or_else(|| {
                let mint = after.mint.as_ref()?;
                mint.certificate_id.clone()
            }),
            thing_type: request.and_then(|request| request.thing_type.clone()),
            groups: request.map(|request| request.groups.clone()),
            reason: after.failure.as_ref().map(|failure| failure.reason.clone()),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::CreatePlan;
    use crate::request::CreateRequest;

    fn check(
        before: Option<OperationStatus>,
        after: OperationStatus,
        kind: OperationKind,
        told: Option<&str>,
    ) {
        let body = br#"{"thingName": "milan-0001", "thingType": "light", "groups": ["milan"]}"#;
        let plan = CreatePlan::new(
            OperationId::from_random([7; 16]),
            CreateRequest::parse(body, None).unwrap().0,
        );
        let operation = Operation {
            status: after,
            kind,
            ended_at: Some(Moment(9)),
            ..plan.operation(Moment(1), Moment(2))
        };
        let announced = announcement(before, &operation);
        assert_eq!(
            announced.as_ref().map(|a| a.detail_type),
            told,
            "{before:?} {after:?}"
        );
        if let Some(announced) = announced {
            let detail = serde_json::to_value(&announced.detail).unwrap();
            assert_eq!(
                (&detail["at"], &detail["thingType"]),
                (&9.into(), &"light".into())
            );
            assert_eq!(detail["operationId"], operation.operation_id.as_str());
        }
    }

    #[test]
    fn only_the_change_to_an_end_is_announced() {
        use OperationKind::{Create, Delete, Renew, Update};
        use OperationStatus::{Compensated, Done, Failed, Running, Stuck, Undoing};
        check(Some(Running), Done, Create, Some("DeviceCreated"));
        check(Some(Running), Done, Delete, Some("DeviceDeleted"));
        check(None, Done, Delete, Some("DeviceDeleted"));
        check(Some(Running), Done, Update, Some("DeviceUpdated"));
        check(Some(Undoing), Compensated, Update, None);
        check(Some(Done), Done, Create, None);
        check(Some(Running), Done, Renew, Some("CertificateRenewed"));
        check(
            Some(Running),
            Failed,
            Renew,
            Some("CertificateRenewalFailed"),
        );
        check(Some(Failed), Failed, Renew, None);
        for status in [Running, Undoing, Compensated, Failed, Stuck] {
            check(Some(Running), status, Create, None);
        }
    }
}
