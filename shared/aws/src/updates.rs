//! Updates a device: the plan on record first, then what a look at AWS shows to
//! be left of it.
//!
//! A later delivery that finds an update half done ends it first, forward or
//! back, whoever asked for it (invariant 6). What AWS refuses half way is taken
//! back; a device is never between two states for good.

use aws_config::SdkConfig;
use futures_util::future::join_all;
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::names::{GroupName, OperationId, ThingName};
use lamplighter_domain::operation::{Operation, OperationKind, OperationStatus};
use lamplighter_domain::time::Moment;
use lamplighter_domain::update::{
    Decision, Standing, Surroundings, UpdatePlan, UpdateRequest, decide, effects, standing,
};
use lamplighter_domain::view::absent;
use lamplighter_domain::{Failure, Kind};

use crate::claims::Claims;
use crate::table::Table;
use crate::things::Things;
use crate::{clock, setup, type_names};

/// How often an update is begun while others change the device.
const ATTEMPTS: u32 = 4;
/// How often AWS is looked at again while others change the thing there.
const LOOKS: u32 = 3;

/// Everything an update works with.
#[derive(Clone)]
pub struct Updates {
    /// The registry.
    pub claims: Claims,
    /// AWS IoT's things and groups.
    pub things: Things,
    /// The group of a device that is in no other.
    pub default_group: GroupName,
    /// What precedes a thing group's name in its ARN.
    pub group_arn_prefix: String,
}

/// What an update came to.
#[derive(Debug)]
pub struct Updated {
    /// The device as it is now.
    pub record: DeviceRecord,
    /// The fields that changed.
    pub changed: Vec<&'static str>,
}

impl Updates {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            claims: Claims {
                table: Table::from_env(sdk)?,
            },
            things: Things::new(sdk),
            default_group: GroupName::parse(&setup::required("DEFAULT_GROUP")?)?,
            group_arn_prefix: setup::required("GROUP_ARN_PREFIX")?,
        })
    }

    /// Updates a device as a caller asks. A thing type is named as the catalog
    /// declares it. `deadline` is when this invocation is certain to have ended.
    pub async fn asked(
        &self,
        name: &ThingName,
        mut request: UpdateRequest,
        idempotency_key: Option<&str>,
        deadline: Moment,
    ) -> Result<Updated, Failure> {
        if let Some(declared) = &request.thing_type {
            request.thing_type = Some(type_names::current(&self.claims.table, declared).await?);
        }
        let id = idempotency_key.map(OperationId::from_key);
        self.update(name, &request, id, deadline).await
    }

    /// Updates a device. A thing type is named as AWS has it.
    pub async fn update(
        &self,
        name: &ThingName,
        request: &UpdateRequest,
        id: Option<OperationId>,
        deadline: Moment,
    ) -> Result<Updated, Failure> {
        for _ in 0..ATTEMPTS {
            let record = self.claims.device(name).await?;
            let record = record.ok_or_else(|| absent(name, None, None))?;
            let working = self.claims.operation(&record.operation_id).await?;
            if standing(&record, working.as_ref(), clock::now())? == Standing::Abandoned {
                self.end_abandoned(&record, working, deadline).await?;
                continue;
            }
            if let Some(id) = &id
                && self.is_done(id, name).await?
            {
                return Ok(unchanged(record));
            }
            let plan = match decide(request, &record, &self.default_group)? {
                Decision::Unchanged => return Ok(unchanged(record)),
                Decision::Begin(plan) => plan,
            };
            let around = self.things.around(&plan, &self.group_arn_prefix).await?;
            plan.admit(&around)?;
            // What has no room is refused before anything is on record.
            let seen = self.things.seen(name, &plan).await?;
            effects(&plan, OperationStatus::Running, &seen, &around)?;
            let id = id.clone().unwrap_or_else(clock::operation_id);
            let operation = plan.operation(id, name, clock::now(), deadline);
            if self.claims.begin_update(&record, &operation).await? {
                return self.run(&record, operation, &plan, &around).await;
            }
        }
        let busy = Failure::busy("other requests are changing the device at this moment", 1);
        Err(busy.field("thingName"))
    }

    /// Whether the operation of an idempotency key has done what it was for.
    async fn is_done(&self, id: &OperationId, name: &ThingName) -> Result<bool, Failure> {
        let Some(earlier) = self.claims.operation(id).await? else {
            return Ok(false);
        };
        let of_this = earlier.thing_name == *name && earlier.kind == OperationKind::Update;
        // A deletion has ended it; the device of this name is another one.
        if !of_this || earlier.status == OperationStatus::Failed {
            return Err(Failure::conflict(
                "idempotencyKey",
                "it was used for something else",
                "Use a new key.",
            ));
        }
        Ok(earlier.status == OperationStatus::Done)
    }

    /// Ends an update that another delivery left. That it was taken back is no
    /// concern of this one.
    async fn end_abandoned(
        &self,
        record: &DeviceRecord,
        working: Option<Operation>,
        deadline: Moment,
    ) -> Result<(), Failure> {
        let Some(operation) = working else {
            return Ok(());
        };
        let now = clock::now();
        let Some(mine) = self.claims.take_over(&operation, now, deadline).await? else {
            return Ok(());
        };
        let plan = mine.update.clone();
        let plan = plan.ok_or_else(|| Failure::bug("an update without a plan"))?;
        let around = self.things.around(&plan, &self.group_arn_prefix).await;
        let ended = match around {
            Ok(around) => self.run(record, mine, &plan, &around).await.map(drop),
            Err(failure) => {
                self.claims.let_go(&mine).await?;
                Err(failure)
            }
        };
        match ended {
            Err(failure) if failure.kind.retryable() || failure.kind == Kind::Stuck => Err(failure),
            _ => Ok(()),
        }
    }

    /// Brings an update that this invocation holds to its end.
    async fn run(
        &self,
        record: &DeviceRecord,
        mut operation: Operation,
        plan: &UpdatePlan,
        around: &Surroundings,
    ) -> Result<Updated, Failure> {
        if operation.status == OperationStatus::Running {
            match self.converge(&operation, plan, around).await {
                Ok(()) => {
                    let now = clock::now();
                    let record = self.claims.commit_update(record, &operation, now).await?;
                    let changed = plan.before.differing(&plan.after);
                    return Ok(Updated { record, changed });
                }
                Err(failure) if failure.kind.retryable() => {
                    self.claims.let_go(&operation).await?;
                    return Err(failure);
                }
                Err(failure) => {
                    self.claims.begin_undo(&operation, &failure).await?;
                    operation.status = OperationStatus::Undoing;
                    operation.failure = Some(failure);
                }
            }
        }
        let why = operation.failure.clone();
        let why = why.unwrap_or_else(|| Failure::bug("an undo without a reason"));
        match self.converge(&operation, plan, around).await {
            Ok(()) => {
                let to = OperationStatus::Compensated;
                self.claims
                    .end_update(&operation, to, &why, clock::now())
                    .await?;
                Err(why)
            }
            Err(busy) if busy.kind.retryable() => {
                self.claims.let_go(&operation).await?;
                Err(busy)
            }
            Err(stuck) => {
                let to = OperationStatus::Stuck;
                self.claims
                    .end_update(&operation, to, &stuck, clock::now())
                    .await?;
                Err(Failure::new(
                    Kind::Stuck,
                    format!("the update failed ({why}) and could not be taken back"),
                    "See the operation; the next update of the device goes on from there.",
                )
                .operator(stuck.operator))
            }
        }
    }

    /// Makes of the thing what the operation's status wants it to be.
    async fn converge(
        &self,
        operation: &Operation,
        plan: &UpdatePlan,
        around: &Surroundings,
    ) -> Result<(), Failure> {
        let name = &operation.thing_name;
        let mut looks = 0;
        loop {
            looks += 1;
            let seen = self.things.seen(name, plan).await?;
            let stages = effects(plan, operation.status, &seen, around)?;
            match self.carry_out(operation, &stages).await {
                Err(busy) if busy.kind == Kind::Busy && looks < LOOKS => {}
                ended => return ended,
            }
        }
    }

    async fn carry_out(
        &self,
        operation: &Operation,
        stages: &[Vec<lamplighter_domain::update::Effect>],
    ) -> Result<(), Failure> {
        for stage in stages {
            // All come to their ends, so that none is cut off by another's failure.
            let work = stage
                .iter()
                .map(|effect| self.things.perform(&operation.thing_name, effect));
            join_all(work)
                .await
                .into_iter()
                .collect::<Result<Vec<()>, _>>()?;
        }
        Ok(())
    }
}

fn unchanged(record: DeviceRecord) -> Updated {
    Updated {
        record,
        changed: Vec::new(),
    }
}
