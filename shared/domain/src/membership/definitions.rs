//! All definitions, ready to be asked.

use std::collections::{BTreeMap, BTreeSet};

use super::document::DocumentRow;
use crate::catalog::{Definition, Materialize};
use crate::failure::Failure;
use crate::group::Document;
use crate::group::matcher::Matcher;
use crate::names::GroupName;

/// All definitions, as of one version of them.
#[derive(Debug)]
pub struct Definitions {
    /// The version.
    pub version: u64,
    /// Those that cannot be evaluated, by name, with the reason. The others go
    /// on.
    pub refused: Vec<(String, Failure)>,
    pub(super) matcher: Matcher,
    materialised: BTreeMap<GroupName, Materialize>,
}

impl Definitions {
    /// Reads all definitions. A bad one is refused, and nobody is in it.
    pub fn compile(version: u64, definitions: impl IntoIterator<Item = Definition>) -> Self {
        let (mut refused, mut queries) = (Vec::new(), Vec::new());
        let (mut materialised, mut statics) = (BTreeMap::new(), BTreeSet::new());
        for definition in definitions {
            let name = definition.name.to_string();
            if definition.materialize == Materialize::Static {
                statics.insert(name.clone());
            }
            if definition.materialize != Materialize::None {
                materialised.insert(definition.name.clone(), definition.materialize);
            }
            match definition.parsed() {
                Err(error) => refused.push((name, error.into_failure("query"))),
                Ok(parsed) => queries.push((
                    name,
                    match &definition.parent {
                        Some(parent) => parsed.query.within(parent.as_str()),
                        None => parsed.query,
                    },
                )),
            }
        }
        let compiled = Matcher::of_materialised(queries, &statics);
        refused.extend(compiled.refused);
        Self {
            version,
            refused,
            matcher: compiled.matcher,
            materialised,
        }
    }

    /// The groups that a device with this document is in.
    pub fn groups_of(&self, row: &DocumentRow) -> BTreeSet<GroupName> {
        let Some(document) = self.document(row) else {
            return BTreeSet::new();
        };
        let members = self.matcher.session().members(&document);
        let names = self.matcher.names_of(&members);
        names
            .filter_map(|name| GroupName::parse(name).ok())
            .collect()
    }

    /// The document that these definitions are asked about; nothing while there
    /// is no thing.
    pub(super) fn document(&self, row: &DocumentRow) -> Option<Document> {
        let is_native = |name: &str| self.is(name, Materialize::Native);
        Document::from_json(&row.json(is_native)?).ok()
    }

    /// Whether a group of AWS's is one of these, materialised so.
    pub(super) fn is(&self, group: &str, so: Materialize) -> bool {
        GroupName::parse(group).is_ok_and(|name| self.materialised.get(&name) == Some(&so))
    }
}
