//! Moves devices: to another thing type, or out of a group that is to go.
//!
//! Each is an update of one device, so it may break off anywhere: the list is
//! AWS's own, and who has been moved is not in it any more.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use lamplighter_domain::catalog::{Item, Owned, OwnedRow, move_instead, move_request};
use lamplighter_domain::names::{CatalogName, ThingName};
use lamplighter_domain::time::Moment;
use lamplighter_domain::update::UpdateRequest;
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;

use super::{AT_ONCE, Catalogs};
use crate::clock;
use crate::organisation::Page;

/// How many reasons, and of each how many devices, an answer names.
const MOST_SHOWN: usize = 10;

/// How far devices have been moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How many were moved by this request.
    pub moved: usize,
    /// How many are left, as far as was counted.
    pub left: usize,
    /// Whether there are more.
    pub more: bool,
    /// That every one was tried, and the rest cannot be moved as they are.
    pub stalled: bool,
    /// Why, and which, some of each.
    pub failures: BTreeMap<String, Vec<String>>,
    /// Whether one of them may be moved later, as it is.
    #[serde(skip)]
    busy: bool,
}

impl Progress {
    pub(super) fn add(&mut self, other: Self) {
        self.moved += other.moved;
        self.left += other.left;
        self.more |= other.more;
        self.stalled |= other.stalled;
        self.failures.extend(other.failures);
    }

    fn failed(&mut self, name: String, failure: &Failure) {
        self.left += 1;
        self.busy |= failure.kind.retryable();
        if self.failures.len() < MOST_SHOWN || self.failures.contains_key(&failure.reason) {
            let names = self.failures.entry(failure.reason.clone()).or_default();
            if names.len() < MOST_SHOWN {
                names.push(name);
            }
        }
    }

    /// All were tried, or time is over; and there may be more.
    fn ended(mut self, over: bool, more: bool) -> Self {
        let stuck = self.left > 0 && self.moved == 0 && !self.busy;
        self.stalled = stuck && !over;
        self.more = more;
        self
    }
}

/// Whose steps are done, until when devices are moved, and when the invocation
/// is certain to have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    pub(super) catalog: &'a CatalogName,
    pub(super) until: Moment,
    pub(super) deadline: Moment,
}

impl Time<'_> {
    /// That the catalog made something.
    pub(super) fn row(self, owned: Owned) -> OwnedRow {
        let catalog = self.catalog.clone();
        OwnedRow { catalog, owned }
    }
}

impl Catalogs {
    /// Moves devices until none is left or time is up. Of those that cannot be
    /// moved it says why.
    pub(super) async fn move_devices(
        &self,
        item: &Item,
        time: Time<'_>,
    ) -> Result<Progress, Failure> {
        let request = move_request(item);
        let (mut progress, mut token) = (Progress::default(), None);
        loop {
            let page = self.members(item, token.take()).await?;
            token = page.next;
            let tried = page.names.len();
            let work = page.names.into_iter().map(|name| {
                let request = &request;
                async move {
                    if clock::now() > time.until {
                        return (name, None);
                    }
                    let moved = self.move_one(&name, request, time.deadline).await;
                    (name, Some(moved))
                }
            });
            let outcomes: Vec<_> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
            let mut late = 0;
            for (name, outcome) in outcomes {
                match outcome {
                    None => late += 1,
                    Some(Ok(())) => progress.moved += 1,
                    Some(Err(failure)) if failure.kind == Kind::Denied => return Err(failure),
                    Some(Err(failure)) => progress.failed(name, &failure),
                }
            }
            progress.left += late;
            let over = late > 0 || clock::now() > time.until;
            if over || token.is_none() || tried == 0 {
                return Ok(progress.ended(over, token.is_some()));
            }
        }
    }

    async fn members(&self, item: &Item, token: Option<String>) -> Result<Page, Failure> {
        let aws = &self.organisation;
        match item {
            Item::Migrate { from, .. } => aws.things_of_type(from, token).await,
            Item::DrainGroup(group) => aws.things_in_group(group, token).await,
            Item::DrainBillingGroup(group) => aws.things_in_billing_group(group, token).await,
            other => Err(Failure::bug(format!("nobody is moved by {other:?}"))),
        }
    }

    async fn move_one(
        &self,
        name: &str,
        request: &UpdateRequest,
        deadline: Moment,
    ) -> Result<(), Failure> {
        let thing = ThingName::parse(name)?;
        let devices = &self.updates;
        let moved = match devices.update(&thing, request, None, deadline).await {
            Err(refused) => match move_instead(request, &refused, &devices.default_group) {
                Some(instead) => devices.update(&thing, &instead, None, deadline).await,
                None => Err(refused),
            },
            moved => moved,
        };
        moved.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_busy_is_not_stuck() {
        let busy = || Failure::busy("another update works on the device", 5);
        let refused = || Failure::invalid("groups", "no", "Name others.");
        for (moved, failures, over, stalled) in [
            (0, vec![refused()], false, true),
            (0, vec![refused()], true, false),
            (1, vec![refused()], false, false),
            (0, vec![busy()], false, false),
            (0, vec![refused(), busy()], false, false),
            (0, vec![], false, false),
        ] {
            let mut progress = Progress {
                moved,
                ..Progress::default()
            };
            for failure in &failures {
                progress.failed("light".to_owned(), failure);
            }
            let progress = progress.ended(over, false);
            assert_eq!(progress.stalled, stalled, "{progress:?}");
        }
    }
}
