//! What is announced on the bus when an operation has ended as asked.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::names::{CertificateId, GroupName, OperationId, ThingName, ThingTypeName};
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::time::Moment;

/// Who announces.
pub const SOURCE: &str = "lamplighter";

/// One domain event. It may be announced twice; the operation's id is the same
/// each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The event's name.
    pub detail_type: &'static str,
    /// The event.
    pub detail: Detail,
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
    /// The certificate that the device was created with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// The device's thing type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// The static groups that the device was created in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<GroupName>>,
}

/// What one change of an operation's row announces: nothing, unless it is the
/// change to DONE.
pub fn announcement(before: Option<OperationStatus>, after: &Operation) -> Option<Announcement> {
    if after.status != OperationStatus::Done || before == Some(OperationStatus::Done) {
        return None;
    }
    let detail_type = match after.kind {
        OperationKind::Create => "DeviceCreated",
        OperationKind::Delete => "DeviceDeleted",
    };
    let request = after.plan.as_ref().map(|plan| &plan.request);
    Some(Announcement {
        detail_type,
        detail: Detail {
            operation_id: after.operation_id.clone(),
            thing_name: after.thing_name.clone(),
            at: after.ended_at.unwrap_or(after.started_at),
            certificate_id: after
                .mint
                .as_ref()
                .and_then(|mint| mint.certificate_id.clone()),
            thing_type: request.and_then(|request| request.thing_type.clone()),
            groups: request.map(|request| request.groups.clone()),
        },
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
    fn only_the_change_to_done_is_announced() {
        use OperationKind::{Create, Delete};
        use OperationStatus::{Compensated, Done, Failed, Running, Stuck, Undoing};
        check(Some(Running), Done, Create, Some("DeviceCreated"));
        check(Some(Running), Done, Delete, Some("DeviceDeleted"));
        check(None, Done, Delete, Some("DeviceDeleted"));
        check(Some(Done), Done, Create, None);
        for status in [Running, Undoing, Compensated, Failed, Stuck] {
            check(Some(Running), status, Create, None);
        }
    }
}
