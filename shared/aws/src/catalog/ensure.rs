//! Carries out one step of a plan.

use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Item, Policy, Step, TypeRow};
use lamplighter_domain::names::{GroupName, ThingTypeName};
use lamplighter_domain::stop::Lock;

use super::moves::{Progress, Time};
use super::{Catalogs, Topics};
use crate::policy_versions;
use crate::table::Key;

/// What a step came to.
pub(super) enum Ensured {
    /// It is so.
    Done,
    /// AWS does not let it be so yet.
    Later(&'static str),
    /// Devices were moved, and some are left.
    Moving(Progress),
}

impl Catalogs {
    /// Ensures a step. What is made is on record as the catalog's first, and
    /// what is removed last, so that nothing is forgotten when it breaks off.
    pub(super) async fn ensure(&self, step: &Step, time: Time<'_>) -> Result<Ensured, Failure> {
        let item = &step.item;
        if let Some(made) = item.makes() {
            let row = time.row(made);
            let key = Key::owned(&row);
            let first = self.table.put_new(&key, &row).await?;
            let done = self.carry_out(item, time).await;
            // Somebody else was faster, and what they made is not the catalog's.
            if first && matches!(&done, Err(f) if f.kind == lamplighter_domain::Kind::Conflict) {
                self.table.remove(&key).await?;
            }
            return done;
        }
        let done = self.carry_out(item, time).await?;
        if let (Ensured::Done, Some(removed)) = (&done, item.removes()) {
            let row = time.row(removed.clone());
            self.table.remove(&Key::owned(&row)).await?;
        }
        Ok(done)
    }

    async fn carry_out(&self, item: &Item, time: Time<'_>) -> Result<Ensured, Failure> {
        let (aws, rows) = (&self.organisation, &self.table);
        match item {
            Item::ThingType { made, .. } => aws.create_thing_type(made).await?,
            Item::Switch(row) => rows.put(&Key::type_row(&row.name), row).await?,
            Item::Deprecate(name, deprecated) => aws.deprecate(name, *deprecated).await?,
            Item::DeleteType {
                name,
                declared,
                row,
            } => return self.delete_type(name, declared, row.as_ref()).await,
            Item::Policy(policy) => aws.create_policy(policy).await?,
            Item::PolicyVersion(policy) => self.switch_policy(policy).await?,
            Item::DeletePolicy(name) => {
                if !aws.delete_policy(name).await? {
                    return Ok(Ensured::Later("AWS still counts the policy as attached"));
                }
            }
            Item::BillingGroup(group) => aws.create_billing_group(group).await?,
            Item::UpdateBillingGroup { group, untag } => {
                aws.update_billing_group(group, untag).await?;
            }
            Item::DeleteBillingGroup(name) => {
                if !aws
                    .things_in_billing_group(name, None)
                    .await?
                    .names
                    .is_empty()
                {
                    return Ok(Ensured::Later("a device has just joined it"));
                }
                aws.delete_billing_group(name).await?;
            }
            Item::Group { group, .. } => aws.create_group(group).await?,
            Item::UpdateGroup { group, .. } => aws.update_group(group).await?,
            Item::MoveGroup { group, .. } => {
                if !self.delete_group(&group.name).await? {
                    return Ok(Ensured::Later("something has just come into it"));
                }
                aws.create_group(group).await?;
            }
            Item::DeleteGroup { name, .. } => {
                if !self.delete_group(name).await? {
                    return Ok(Ensured::Later("something has just come into it"));
                }
            }
            Item::Attach { policy, group } => aws.attach_policy(policy, group).await?,
            Item::Detach { policy, group } => aws.detach_policy(policy, group).await?,
            Item::Topics { thing_type, topics } => {
                let topics = topics.clone();
                rows.put(&Key::topics(thing_type), &Topics { topics })
                    .await?;
            }
            Item::Definition(definition) => self.put_definition(definition).await?,
            Item::ForgetDefinition(name) => self.forget_definition(name).await?,
            Item::JobTemplate(template) => {
                rows.put(&Key::job_template(&template.name), template)
                    .await?;
            }
            Item::ForgetJobTemplate(name) => rows.remove(&Key::job_template(name)).await?,
            Item::Profile(profile) => rows.put(&Key::profile(&profile.name), profile).await?,
            Item::ForgetProfile(name) => rows.remove(&Key::profile(name)).await?,
            Item::Migrate { .. } | Item::DrainGroup(_) | Item::DrainBillingGroup(_) => {
                let progress = self.move_devices(item, time).await?;
                return Ok(Ensured::Moving(progress));
            }
            Item::Disown(_) => {}
        }
        Ok(Ensured::Done)
    }

    async fn delete_type(
        &self,
        name: &ThingTypeName,
        declared: &ThingTypeName,
        row: Option<&TypeRow>,
    ) -> Result<Ensured, Failure> {
        if !self.organisation.delete_thing_type(name).await? {
            return Ok(Ensured::Later("AWS does not let the type go yet"));
        }
        let key = Key::type_row(declared);
        match row {
            Some(row) => self.table.put(&key, row).await?,
            None => self.table.remove(&key).await?,
        }
        Ok(Ensured::Done)
    }

    /// Deletes a group that nothing is in; AWS would take devices out of it
    /// without a word.
    async fn delete_group(&self, name: &GroupName) -> Result<bool, Failure> {
        let aws = &self.organisation;
        if !aws.things_in_group(name, None).await?.names.is_empty() {
            return Ok(false);
        }
        aws.delete_group(name).await
    }

    /// Makes another document the policy's default. A stop that comes at this
    /// very moment wins: its lock is looked for before the switch and after it.
    async fn switch_policy(&self, policy: &Policy) -> Result<(), Failure> {
        let iot = &self.organisation.iot;
        let lock = async || {
            self.table
                .get::<Lock>(&Key::policy_lock(&policy.name))
                .await
        };
        let stopped = || Failure::busy("somebody has just stopped the policy", 5);
        let Some(version) = self.organisation.version(policy).await? else {
            return Ok(());
        };
        if lock().await?.is_some() {
            return Err(stopped());
        }
        policy_versions::make_default(iot, &policy.name, &version).await?;
        if let Some(lock) = lock().await? {
            policy_versions::make_default(iot, &policy.name, &lock.stop_version).await?;
            return Err(stopped());
        }
        Ok(())
    }
}
