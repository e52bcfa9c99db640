//! Member rows and counts, as they follow from the changes of memberships.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{Delete, Put, Update};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::building::Change;
use lamplighter_domain::catalog::DefinitionRow;
use lamplighter_domain::membership::{MemberRow, Step, member_shard};
use lamplighter_domain::names::{GroupName, JobTemplateName};

use crate::clock;
use crate::table::{self, Key, Table};

/// How many groups of a device are worked on at once.
const AT_ONCE: usize = 8;

/// Ensures the rows of one device's steps, which are of different groups.
pub(crate) async fn derive(table: &Table, steps: &[Step]) -> Result<(), Failure> {
    stream::iter(steps.iter().map(|step| change(table, step)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The row, its partition's count and what followers read change together. Where
/// the row is as it is to be, that was done before.
async fn change(table: &Table, step: &Step) -> Result<(), Failure> {
    let member = Key::member(&step.group, &step.thing_name);
    let row = if step.entered {
        let row = MemberRow {
            thing_name: step.thing_name.clone(),
            group_name: step.group.clone(),
            entered_at: step.at,
        };
        table::put(
            Put::builder()
                .table_name(&table.name)
                .set_item(Some(table::write(&member, &row)?))
                .condition_expression("attribute_not_exists(PK)"),
        )?
    } else {
        table::delete(
            Delete::builder()
                .table_name(&table.name)
                .set_key(Some(member.item()))
                .condition_expression("attribute_exists(PK)"),
        )?
    };
    let shard = member_shard(&step.thing_name);
    let count = Update::builder()
        .table_name(&table.name)
        .set_key(Some(Key::count(&step.group, shard).item()))
        .update_expression("ADD members :change")
        .expression_attribute_values(
            ":change",
            table::attribute(&if step.entered { 1 } else { -1 })?,
        );
    let told = Change::new(&step.clone().into(), clock::now());
    let key = Key::change(&step.group, &step.thing_name, &told.key);
    let told = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(&key, &told.row)?));
    // Devices that enter one group at one moment change the same count.
    table
        .transact_among_others(vec![row, table::update(count)?, table::put(told)?])
        .await
        .map(drop)
}

/// The jobs that follow from entering groups, as far as they were asked for.
#[derive(Default)]
pub(crate) struct Jobs(BTreeMap<GroupName, Option<JobTemplateName>>);

impl Jobs {
    /// The template of a group's job, if it has one.
    pub(crate) async fn of(
        &mut self,
        table: &Table,
        group: &GroupName,
    ) -> Result<Option<JobTemplateName>, Failure> {
        if let Some(job) = self.0.get(group) {
            return Ok(job.clone());
        }
        let row: Option<DefinitionRow> = table.get(&Key::definition(group)).await?;
        let job = row.and_then(|row| row.definition.on_enter.job);
        self.0.insert(group.clone(), job.clone());
        Ok(job)
    }
}
