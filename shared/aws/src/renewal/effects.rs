//! A rotation's work, call by call, and what is recorded after it.

use aws_sdk_dynamodb::types::TransactWriteItem;
use lamplighter_domain::Failure;
use lamplighter_domain::csr::{Csr, PublicKeyId};
use lamplighter_domain::device::CertificateRecord;
use lamplighter_domain::names::CertificateId;
use lamplighter_domain::rotation::{Effect, KeyMadeHere, New, OldState, Phase, Rotation, Work};

use super::{Renewals, Step, journal};
use crate::{certificates, clock, key_owners};

/// What a work has brought forth.
pub(super) enum Made {
    Nothing,
    Key(Csr),
    Prepared(New),
    Certificate(Box<CertificateRecord>),
}

impl Renewals {
    /// Carries a work's effects out, in order. The effects of a work that was
    /// broken off are carried out again: `repeated` is whether that may be so.
    pub(super) async fn perform(
        &self,
        rotation: &Rotation,
        work: &Work,
        repeated: bool,
    ) -> Result<Made, Failure> {
        let mut made = Made::Nothing;
        for effect in work.effects() {
            self.effect(rotation, work, *effect, repeated, &mut made)
                .await?;
            journal::did(rotation, *effect);
        }
        Ok(made)
    }

    async fn effect(
        &self,
        rotation: &Rotation,
        work: &Work,
        effect: Effect,
        repeated: bool,
        made: &mut Made,
    ) -> Result<(), Failure> {
        let name = &rotation.thing_name;
        let iot = &self.things.iot;
        let new = || {
            rotation
                .new_id()
                .ok_or_else(|| Failure::bug(format!("{work:?} without a new certificate")))
        };
        match effect {
            Effect::Publish(told) => self.tell(rotation, told).await,
            Effect::CreateJob => self.post(rotation).await,
            Effect::CancelJob => self.cancel_job(&rotation.rotation_id).await,
            Effect::DeleteJob => self.delete_job(&rotation.rotation_id).await,
            Effect::StoreKey => {
                let object = rotation.new_key();
                let object = object.ok_or_else(|| Failure::bug("a key that is not made here"))?;
                *made = Made::Key(self.safe.make(name, &object).await?);
                Ok(())
            }
            Effect::PurgeNew => self.purge(rotation.new_key()).await,
            Effect::PurgeOld => self.purge(rotation.old_key.clone()).await,
            Effect::Prepare => {
                let Work::Prepare(csr) = work else {
                    return Err(Failure::bug("preparing without a signing request"));
                };
                let mint = self
                    .issuers
                    .prepare(rotation.issuer, name, csr, clock::now())
                    .await?;
                *made = Made::Prepared(New {
                    csr: csr.clone(),
                    mint,
                });
                Ok(())
            }
            Effect::Mint => {
                let Work::Issue(new) = work else {
                    return Err(Failure::bug("minting without a signing request"));
                };
                let minted = self
                    .issuers
                    .issue(rotation.issuer, name, &new.csr, &new.mint, repeated)
                    .await?;
                let key = new.csr.public_key();
                let mut record = minted.record(rotation.issuer, name, key, self.renewal_age);
                record.custody = rotation.custody;
                record.key_object = rotation.new_key();
                *made = Made::Certificate(Box::new(record));
                Ok(())
            }
            Effect::AttachNew => match made {
                Made::Certificate(certificate) => {
                    self.things
                        .attach(name, &self.arn(&certificate.certificate_id))
                        .await
                }
                _ => Err(Failure::bug("attaching before minting")),
            },
            Effect::DetachNew => self.things.detach(name, &self.arn(new()?)).await,
            Effect::DeactivateNew => certificates::deactivate(iot, new()?).await,
            Effect::DeleteNew => certificates::delete(iot, new()?).await,
            Effect::DetachOld => self.things.detach(name, &self.arn(&rotation.old)).await,
            // Revoked is revoked: it stays so until it would have expired.
            Effect::DeactivateOld | Effect::DeleteOld
                if rotation.old_state == OldState::Revoked =>
            {
                Ok(())
            }
            Effect::DeactivateOld => certificates::deactivate(iot, &rotation.old).await,
            Effect::DeleteOld => certificates::delete(iot, &rotation.old).await,
        }
    }

    async fn purge(&self, object: Option<String>) -> Result<(), Failure> {
        match object {
            Some(object) => self.safe.purge(&object).await,
            None => Ok(()),
        }
    }

    /// Records that a work is done, and decides what follows.
    pub(super) async fn finish(
        &self,
        step: &Step,
        work: &Work,
        made: Made,
    ) -> Result<Rotation, Failure> {
        let now = clock::now();
        let name = &step.thing_name;
        let proved = match work {
            Work::Retire(_) => self.proved(step).await?,
            _ => None,
        };
        let freed = match work {
            Work::Remove(_) => self.key_that_goes(step).await?,
            _ => None,
        };
        let to = |row: Rotation| {
            Ok(match (work, &made) {
                (Work::Tell(_) | Work::Post, _) => row.told(),
                (Work::Recall, _) => row.recalled(now),
                (Work::MakeKey, Made::Key(csr)) => row.key_made(csr.clone()),
                (Work::Prepare(_), Made::Prepared(new)) => row.prepared(new.clone()),
                (Work::Issue(_), Made::Certificate(certificate)) => {
                    row.issued(certificate.certificate_id.clone(), now)
                }
                (Work::Withdraw(_), _) => row.withdrawn(now),
                (Work::Discard, _) => row.discarded(now),
                (Work::Retire(_), _) => row.retired(now),
                (Work::Remove(_), _) => row.removed(now),
                _ => return Err(Failure::bug(format!("{work:?} brought nothing forth"))),
            }
            .settle(now))
        };
        let others = |row: &Rotation| -> Result<Vec<TransactWriteItem>, Failure> {
            Ok(match (work, &made) {
                (Work::Issue(_), Made::Certificate(certificate)) => {
                    vec![self.put_certificate(name, certificate)?]
                }
                (Work::Withdraw(gone), _) => match &gone.mint.certificate_id {
                    Some(id) => vec![self.delete_certificate_row(name, id)?],
                    None => Vec::new(),
                },
                (Work::Retire(key), _) => {
                    let new = proved
                        .as_ref()
                        .ok_or_else(|| Failure::bug("a proved certificate without a record"))?;
                    let mut changes = vec![
                        self.switch(name, &row.old, new)?,
                        self.no_longer_due(name, &row.old)?,
                    ];
                    if *key == KeyMadeHere::Purged {
                        changes.push(self.key_purged(name, &new.certificate_id)?);
                    }
                    changes
                }
                (Work::Remove(_), _) if row.old_state == OldState::Revoked => Vec::new(),
                (Work::Remove(_), _) => {
                    let mut gone = vec![self.delete_certificate_row(name, &row.old)?];
                    if let Some(key) = &freed {
                        gone.push(key_owners::free(&self.table, key)?);
                    }
                    gone
                }
                _ => Vec::new(),
            })
        };
        self.change_with(step, to, others).await
    }

    /// The record of the certificate that the device has proved.
    async fn proved(&self, step: &Step) -> Result<Option<CertificateRecord>, Failure> {
        let row = self.rotation(&step.thing_name).await?;
        let Some(row) = row.filter(|row| row.phase == Phase::Retiring) else {
            return Ok(None);
        };
        match row.new_id() {
            Some(id) => self.certificate(&step.thing_name, id).await,
            None => Ok(None),
        }
    }

    /// The key of the certificate that is removed, where it is on record as the
    /// device's.
    async fn key_that_goes(&self, step: &Step) -> Result<Option<PublicKeyId>, Failure> {
        let name = &step.thing_name;
        let Some(row) = self.rotation(name).await? else {
            return Ok(None);
        };
        let Some(old) = self.certificate(name, &row.old).await? else {
            return Ok(None);
        };
        let ours = key_owners::owns(&self.table, name, &old.public_key).await?;
        Ok(ours.then_some(old.public_key))
    }

    pub(super) fn arn(&self, id: &CertificateId) -> String {
        format!("{}{id}", self.certificate_arn_prefix)
    }
}
