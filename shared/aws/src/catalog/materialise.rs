//! What AWS holds of a definition: a static group with its members, or a
//! dynamic group of AWS's own with its query.

use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Definition, Group, Materialize, native_refused};
use lamplighter_domain::names::GroupName;

use super::Catalogs;

impl Catalogs {
    /// Brings about what AWS is to hold, before the definition says so: whoever
    /// reads that finds the group.
    ///
    /// # Errors
    /// `Conflict` when AWS has a group of the name that is somebody else's.
    pub(super) async fn materialise(
        &self,
        definition: &Definition,
        before: Option<&Definition>,
    ) -> Result<(), Failure> {
        let (name, aws) = (&definition.name, &self.organisation);
        let was = before.map_or(Materialize::None, |before| before.materialize);
        if was != definition.materialize {
            self.dematerialise(name, was).await?;
        }
        if definition.materialize == Materialize::None {
            return Ok(());
        }
        let native = definition.materialize == Materialize::Native;
        let (query, description) = (&definition.query, definition.group_description());
        let found = aws.group(name).await?.map(|found| found.seen);
        if let Some(found) = &found {
            definition.admit_group(None, found, None)?;
        }
        match found {
            None if native => aws
                .create_dynamic_group(name, query, &description)
                .await
                .map_err(native_refused),
            None => {
                aws.create_group(&Group {
                    name: name.clone(),
                    parent: None,
                    description,
                    attributes: [].into(),
                    policies: [].into(),
                })
                .await
            }
            Some(_) if native => aws
                .update_dynamic_group(name, query, &description)
                .await
                .map_err(native_refused),
            Some(_) => Ok(()),
        }
    }

    /// Removes what AWS holds. It takes the members out of a static group.
    pub(super) async fn dematerialise(
        &self,
        name: &GroupName,
        was: Materialize,
    ) -> Result<(), Failure> {
        match was {
            Materialize::None => Ok(()),
            Materialize::Static => self.organisation.delete_group(name).await.map(drop),
            Materialize::Native => self.organisation.delete_dynamic_group(name).await,
        }
    }
}
