//! What is asked of each device that is moved: to another thing type, or out of
//! what is to go.

use super::Item;
use crate::create::is_without_policy;
use crate::failure::Failure;
use crate::names::GroupName;
use crate::update::UpdateRequest;

/// What is asked for each device that a step moves. AWS is brought in line even
/// where the registry is: what counts here is AWS's list.
pub fn move_request(item: &Item) -> UpdateRequest {
    let mut request = UpdateRequest {
        ensure: true,
        ..UpdateRequest::default()
    };
    match item {
        Item::Migrate { to, .. } => request.thing_type = Some(to.clone()),
        Item::DrainGroup(group) => {
            request.leave_groups.insert(group.clone());
        }
        _ => request.billing_group = Some(None),
    }
    request
}

/// What is asked instead, once that has been refused: a device that leaves the
/// last of its groups that bears a policy joins the default group, as one that
/// is left without any group does.
pub fn move_instead(
    request: &UpdateRequest,
    refused: &Failure,
    default_group: &GroupName,
) -> Option<UpdateRequest> {
    if request.leave_groups.is_empty() || !is_without_policy(refused) {
        return None;
    }
    let mut instead = request.clone();
    instead.join_groups.insert(default_group.clone());
    Some(instead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::{GroupSeen, admit_groups};
    use crate::names::ThingTypeName;
    use crate::update::Desired;

    fn name(text: &str) -> GroupName {
        GroupName::parse(text).unwrap()
    }

    /// A device that is in some groups leaves `old`; only `bears` and the default
    /// group bear a policy. These are the groups that it is in then.
    fn check(groups: &[&str], wanted: &[&str]) {
        let before = Desired {
            groups: groups.iter().copied().map(name).collect(),
            ..Desired::default()
        };
        let admitted = |request: &UpdateRequest| {
            let mut after = request.applied_to(&before).groups;
            if after.is_empty() {
                after.insert(name("default"));
            }
            let seen = |group: &GroupName| GroupSeen {
                dynamic: false,
                root: group.to_string(),
                bears_policy: ["bears", "default"].contains(&group.as_str()),
            };
            let seen: Vec<_> = after.iter().map(|g| (g.clone(), Some(seen(g)))).collect();
            admit_groups(&seen).map(|()| after)
        };
        let request = move_request(&Item::DrainGroup(name("old")));
        let after = admitted(&request).or_else(|refused| {
            let instead = move_instead(&request, &refused, &name("default"));
            instead.map_or(Err(refused), |instead| admitted(&instead))
        });
        let wanted: Vec<_> = wanted.iter().copied().map(name).collect();
        let after: Vec<_> = after.unwrap().into_iter().collect();
        assert_eq!(after, wanted, "{groups:?}");
    }

    #[test]
    fn whoever_is_drained_can_go_on_working() {
        check(&["old"], &["default"]);
        check(&["old", "bears"], &["bears"]);
        check(&["old", "bears", "idle"], &["bears", "idle"]);
        check(&["old", "idle"], &["default", "idle"]);
        check(&["old", "idle", "other"], &["default", "idle", "other"]);
    }

    #[test]
    fn what_is_refused_for_another_reason_is_left_alone() {
        let to = ThingTypeName::parse("light-v2").unwrap();
        let from = ThingTypeName::parse("light").unwrap();
        let (drain, migrate) = (Item::DrainGroup(name("old")), Item::Migrate { from, to });
        let without = admit_groups(&[]).unwrap_err();
        for (item, refused, joins) in [
            (&drain, without.clone(), true),
            (&drain, Failure::busy("somebody", 1), false),
            (&drain, Failure::invalid("groups", "too many", ""), false),
            (&migrate, without, false),
        ] {
            let instead = move_instead(&move_request(item), &refused, &name("default"));
            assert_eq!(instead.is_some(), joins, "{item:?} {refused}");
        }
    }
}
