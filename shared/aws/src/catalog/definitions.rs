//! Definitions of dynamic groups: each change is a new version of all of them.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::building::RemovedRow;
use lamplighter_domain::catalog::{Definition, DefinitionRow};
use lamplighter_domain::membership::DefinitionsVersion;
use lamplighter_domain::names::GroupName;

use super::Catalogs;
use crate::definitions::versions;
use crate::table::{self, Key};

/// How often a change is tried while others change definitions too.
const MOST_TRIES: usize = 8;

impl Catalogs {
    pub(super) async fn put_definition(&self, definition: &Definition) -> Result<(), Failure> {
        for _ in 0..MOST_TRIES {
            let seen = versions(&self.table).await?;
            if self.write_definition(definition, seen).await? {
                return Ok(());
            }
        }
        Err(changing())
    }

    pub(super) async fn forget_definition(&self, name: &GroupName) -> Result<(), Failure> {
        for _ in 0..MOST_TRIES {
            let seen = versions(&self.table).await?;
            if self.remove_definition(name, seen).await? {
                return Ok(());
            }
        }
        Err(changing())
    }

    /// Writes a definition, if none has changed since these versions were read.
    /// One that is as it is to be is no change.
    pub(super) async fn write_definition(
        &self,
        definition: &Definition,
        seen: DefinitionsVersion,
    ) -> Result<bool, Failure> {
        let name = &definition.name;
        let before: Option<DefinitionRow> = self.table.get(&Key::definition(name)).await?;
        let was = before.as_ref().map(|before| &before.definition);
        self.materialise(definition, was).await?;
        if was == Some(definition) {
            return Ok(true);
        }
        let row = DefinitionRow {
            definition: definition.clone(),
            revision: before.map_or(1, |before| before.revision + 1),
            since: seen.version + 1,
        };
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::definition(name), &row)?));
        let back = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::removed(name).item()));
        self.changed(table::put(put)?, table::delete(back)?, seen)
            .await
    }

    /// Removes a definition, if none has changed since these versions were read.
    /// What AWS holds of it goes first: by the row it is known what that is.
    pub(super) async fn remove_definition(
        &self,
        name: &GroupName,
        seen: DefinitionsVersion,
    ) -> Result<bool, Failure> {
        let key = Key::definition(name);
        let Some(row) = self.table.get::<DefinitionRow>(&key).await? else {
            return Ok(true);
        };
        self.dematerialise(name, row.definition.materialize).await?;
        let gone = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(key.item()));
        let left = RemovedRow {
            group: name.clone(),
            since: seen.version + 1,
        };
        let left = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::removed(name), &left)?));
        self.changed(table::delete(gone)?, table::put(left)?, seen)
            .await
    }

    /// Changes a definition, and with it the version of all of them, by which
    /// whoever keeps them knows that one has changed. The registry's stream
    /// starts the sweep.
    async fn changed(
        &self,
        change: TransactWriteItem,
        beside: TransactWriteItem,
        seen: DefinitionsVersion,
    ) -> Result<bool, Failure> {
        let version = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::definitions().item()))
            .update_expression("SET version = :next")
            .condition_expression("attribute_not_exists(version) OR version = :seen")
            .expression_attribute_values(":next", table::attribute(&(seen.version + 1))?)
            .expression_attribute_values(":seen", table::attribute(&seen.version)?);
        let changes = vec![change, beside, table::update(version)?];
        Ok(self.table.transact(changes).await?.is_none())
    }
}

/// That others change definitions all the time.
pub(super) fn changing() -> Failure {
    Failure::busy("somebody else is changing definitions", 1)
}
