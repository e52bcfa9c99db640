//! Which of AWS's thing types a declared one is.
//!
//! A type that was never changed is itself, and needs no row. So nothing is
//! read before a creation; one that meets a deprecated or missing type asks
//! here, and what was learnt holds for this process until it fails too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lamplighter_domain::Failure;
use lamplighter_domain::catalog::TypeRow;
use lamplighter_domain::names::ThingTypeName;

use crate::table::{Key, Table};

/// The names that were learnt.
#[derive(Debug, Default)]
pub struct TypeNames(Mutex<HashMap<ThingTypeName, ThingTypeName>>);

/// AWS's name of a declared type.
pub async fn current(table: &Table, declared: &ThingTypeName) -> Result<ThingTypeName, Failure> {
    let row: Option<TypeRow> = table.get(&Key::type_row(declared)).await?;
    Ok(row.map_or_else(|| declared.clone(), |row| row.current))
}

impl TypeNames {
    /// AWS's name of a type, as far as it was learnt.
    pub fn known(&self, declared: &ThingTypeName) -> ThingTypeName {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(declared).unwrap_or(declared).clone()
    }

    /// Looks the name up, and says whether it is another than was tried.
    pub async fn learn(
        &self,
        table: &Table,
        declared: &ThingTypeName,
        tried: &ThingTypeName,
    ) -> Result<Option<ThingTypeName>, Failure> {
        let name = current(table, declared).await?;
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(declared.clone(), name.clone());
        Ok((name != *tried).then_some(name))
    }
}
