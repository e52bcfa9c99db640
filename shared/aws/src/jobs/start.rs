//! What starts a job, or only tells who would get it.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::forecast::{Forecast, Page};
use lamplighter_domain::rollout::order::{Order, Request, Targets};
use lamplighter_domain::rollout::spec::Spec;
use lamplighter_domain::rollout::target::nobody;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::rollout::{Rollout, RolloutId, trail};
use lamplighter_domain::{Failure, Kind};
use serde_json::{Value, json};

use aws_sdk_dynamodb::types::Put;

use super::Jobs;
use super::existing::CALLS;
use super::rows::{expiry, first};
use super::targets::{NAMES, Names, Source, still_building};
use crate::job_views::{self, Kept};
use crate::table::{self, Key};
use crate::{clock, describe};

/// A page of a dry run has so many targets, or what is found in so long, since
/// somebody waits for the answer, which may have 6 MB.
const MOST_SHOWN: usize = 5000;
const SHOWN_MILLIS: u64 = 15_000;
/// So long somebody is looked for who may get a job before it is begun anyway.
const ANYBODY_MILLIS: u64 = 5_000;

impl Jobs {
    /// Starts a job; the same key again is the same job.
    ///
    /// # Errors
    /// `NotFound` without the template, the group or an object of S3; `Invalid` for
    /// parameters, for a document that would break a rule, and where none of the
    /// targets may get it; `Conflict` where another job was asked for under the key.
    pub async fn start(&self, by: &str, request: Request) -> Result<Value, Failure> {
        let Request {
            mut order,
            things,
            mut spec,
            key,
            ..
        } = request;
        by.clone_into(&mut order.by);
        let key = key.unwrap_or_else(|| clock::operation_id().to_string());
        let id = RolloutId::from_key(&format!("{by}\0{key}"));
        if let Some(kept) = self.known(&id, &order).await? {
            return self.started(&kept).await;
        }
        spec.check_start(clock::now())?;
        self.prepare(&mut order, &mut spec).await?;
        self.check_group(&order).await?;
        let things: Vec<_> = things.into_iter().collect();
        self.check_anybody(&order, &spec, &things).await?;
        let rollout = Rollout::start(id, spec, clock::now());
        let kept = first(rollout);
        self.store_names(&kept.rollout, &order, &things).await?;
        self.follow(&kept.rollout, &order).await?;
        if !self.claim(&kept, &order).await? {
            // Somebody else was faster with the same key.
            self.known(&kept.rollout.rollout_id, &order).await?;
        }
        self.started(&kept).await
    }

    /// Who would get it, wave by wave, a page of them at most; nothing is written.
    ///
    /// # Errors
    /// As for [`start`](Self::start); `Invalid` for a `cursor` that is none.
    pub async fn forecast(&self, request: Request) -> Result<Value, Failure> {
        let Request {
            mut order,
            things,
            mut spec,
            cursor,
            ..
        } = request;
        spec.check_start(clock::now())?;
        self.prepare(&mut order, &mut spec).await?;
        self.check_group(&order).await?;
        let things: Vec<_> = things.into_iter().collect();
        let mut page = self.page_of(&order, &spec, &things, cursor).await?;
        page.sort();
        let mut answer = json!(Forecast::new(&spec, &page));
        answer["things"] = json!(page.things);
        if let Some(next) = page.next_cursor {
            answer["nextCursor"] = json!(next);
        }
        let document = serde_json::from_str(&order.document);
        answer["document"] = document.unwrap_or_default();
        Ok(answer)
    }

    async fn page_of(
        &self,
        order: &Order,
        spec: &Spec,
        things: &[ThingName],
        cursor: Option<Cursor>,
    ) -> Result<Page, Failure> {
        let source = Source::Sent(things);
        let until = clock::now().plus_millis(SHOWN_MILLIS);
        let sent = cursor.clone();
        let mut page = Page {
            next_cursor: cursor,
            ..Page::default()
        };
        loop {
            let after = page.next_cursor.take();
            let found = self.found(order, spec, &source, after.as_ref()).await;
            let found = match found {
                Err(failure) if after == sent && sent.is_some() && failure.kind == Kind::Bug => {
                    return Err(no_page());
                }
                found => found?,
            };
            let found = found.ok_or_else(still_building)?;
            page.extend(Page {
                things: found.admitted,
                left_out: found.left_out,
                next_cursor: found.next,
            });
            let enough = page.things.len() + page.left_out.len() >= MOST_SHOWN;
            if page.next_cursor.is_none() || enough || clock::now() >= until {
                return Ok(page);
            }
        }
    }

    async fn known(&self, id: &RolloutId, order: &Order) -> Result<Option<Kept>, Failure> {
        let Some(kept) = job_views::kept(&self.table, id).await? else {
            return Ok(None);
        };
        self.order(id).await?.same_as(order)?;
        Ok(Some(kept))
    }

    async fn started(&self, kept: &Kept) -> Result<Value, Failure> {
        if !kept.rollout.phase.ended() {
            self.run(kept).await?;
        }
        job_views::job(&self.table, &kept.rollout.rollout_id, clock::now()).await
    }

    /// That the group is there, and is what it is said to be.
    async fn check_group(&self, order: &Order) -> Result<(), Failure> {
        match &order.targets {
            Targets::Group { name } => {
                let group = describe::group(&self.iot, name).await?;
                let group = group.ok_or_else(|| {
                    Failure::not_found(
                        "targets.group",
                        format!("there is no group {name}"),
                        "Check the name.",
                    )
                })?;
                if group.query_string.is_some() {
                    return Err(Failure::new(
                        Kind::Invalid,
                        format!("{name} is a dynamic group of AWS"),
                        "Target a static group, or a dynamic group of a catalog.",
                    )
                    .field("targets.group"));
                }
                Ok(())
            }
            Targets::DynamicGroup { name } => self.check_known(name).await,
            Targets::Things { .. } | Targets::Query { .. } => Ok(()),
        }
    }

    /// That somebody may get it, now or, of a job that waits for them, later.
    async fn check_anybody(
        &self,
        order: &Order,
        spec: &Spec,
        things: &[ThingName],
    ) -> Result<(), Failure> {
        let source = Source::Sent(things);
        let until = clock::now().plus_millis(ANYBODY_MILLIS);
        let (mut left_out, mut after) = (Vec::new(), None);
        loop {
            let found = self.found(order, spec, &source, after.as_ref()).await?;
            let found = found.ok_or_else(still_building)?;
            left_out.extend(found.left_out);
            after = found.next;
            if !found.admitted.is_empty() || (after.is_some() && clock::now() >= until) {
                return Ok(());
            }
            if after.is_none() {
                break;
            }
        }
        if spec.late_joiners.is_some() || (left_out.is_empty() && spec.starts_after(clock::now())) {
            return Ok(());
        }
        Err(nobody(&left_out))
    }

    async fn store_names(
        &self,
        rollout: &Rollout,
        order: &Order,
        things: &[ThingName],
    ) -> Result<(), Failure> {
        let expires = expiry(rollout);
        let pages = things
            .chunks(NAMES)
            .enumerate()
            .map(async |(page, things)| {
                let key = Key::named_things(&rollout.rollout_id, &order.asked, page);
                let things = things.to_vec();
                self.put_expiring(&key, &Names { things }, expires).await
            });
        let pages = stream::iter(pages).buffer_unordered(CALLS);
        pages.try_collect::<Vec<()>>().await.map(drop)
    }

    /// Writes the job, unless it is there.
    pub(super) async fn claim(&self, kept: &Kept, order: &Order) -> Result<bool, Failure> {
        let id = &kept.rollout.rollout_id;
        let mut row = kept.clone();
        let asked = trail::asked(&mut row.rollout, &order.by);
        let put = |item| {
            Put::builder()
                .table_name(&self.table.name)
                .set_item(Some(item))
        };
        let row = put(table::write(&Key::rollout(id), &row)?)
            .condition_expression("attribute_not_exists(PK)");
        let order = put(table::write(&Key::order(id), order)?);
        let at = Key::rollout_at(id, kept.rollout.started_at);
        let mut changes = vec![
            table::put(row)?,
            table::put(order)?,
            self.open(id)?,
            self.pointer(&at, id)?,
        ];
        changes.extend(self.told(id, &asked)?);
        Ok(self.table.transact(changes).await?.is_none())
    }

    /// A spec that follows those who join later has the groups know of the job.
    pub(super) async fn follow(&self, rollout: &Rollout, order: &Order) -> Result<(), Failure> {
        if rollout.spec.late_joiners.is_none() {
            return Ok(());
        }
        let id = &rollout.rollout_id;
        let keys: Vec<_> = match &order.targets {
            Targets::Group { name } => {
                let groups = self.with_groups_below(name).await?;
                groups
                    .iter()
                    .map(|group| Key::follower(group, id))
                    .collect()
            }
            Targets::DynamicGroup { name } => vec![Key::enter_follower(name, id)],
            Targets::Things { .. } | Targets::Query { .. } => return Ok(()),
        };
        let pointer = job_views::Pointer {
            rollout_id: id.clone(),
        };
        let until = rollout.ends_at.0 / 1000;
        for key in keys {
            self.put_expiring(&key, &pointer, until).await?;
        }
        Ok(())
    }
}

fn no_page() -> Failure {
    Failure::invalid(
        "cursor",
        "it is no cursor of this dry run",
        "Send the nextCursor of the page before, or none.",
    )
}
