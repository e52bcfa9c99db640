//! Looks at every certificate that is or was the device's.

use std::collections::{BTreeMap, BTreeSet};

use lamplighter_domain::Failure;
use lamplighter_domain::delete::{CertificateSeen, DeleteProgress, certificate_of};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::operation::OperationStatus;
use lamplighter_domain::rotation::Phase;

use super::Deletion;
use super::registry::Rows;
use crate::links::at_once;

impl Deletion {
    /// The certificates that the registry has, those that are attached, those
    /// seen before, and those that an unfinished creation may have made.
    pub(super) async fn certificates(
        &self,
        name: &ThingName,
        rows: &Rows,
        principals: &BTreeSet<String>,
        progress: &DeleteProgress,
    ) -> Result<BTreeMap<CertificateId, CertificateSeen>, Failure> {
        let ends: BTreeMap<_, _> = rows
            .certificates
            .iter()
            .map(|certificate| (certificate.certificate_id.clone(), certificate.not_after))
            .collect();
        let mut ids: BTreeSet<_> = self.half_made(name, rows).await?;
        ids.extend(ends.keys().cloned());
        ids.extend(
            principals
                .iter()
                .filter_map(|principal| certificate_of(principal)),
        );
        ids.extend(progress.certificates.keys().cloned());
        let looks = ids.into_iter().map(async |id| {
            let mut seen = self.links.certificate(&id).await?;
            seen.not_after = seen.not_after.max(ends.get(&id).copied());
            Ok((id, seen))
        });
        at_once(looks).await.into_iter().collect()
    }

    /// What a creation or a rotation that did not end well may have made: the
    /// intent to make a certificate is on record, the certificate may not be.
    async fn half_made(
        &self,
        name: &ThingName,
        rows: &Rows,
    ) -> Result<BTreeSet<CertificateId>, Failure> {
        let creation = match &rows.record {
            Some(record) => self.operation(&record.created_by).await?,
            None => None,
        };
        let created = creation
            .filter(|creation| creation.status != OperationStatus::Done)
            .and_then(|creation| creation.mint);
        let rotated = rows
            .rotation
            .as_ref()
            .filter(|rotation| rotation.phase == Phase::Fenced)
            .and_then(|rotation| Some(rotation.new.as_ref()?.mint.clone()));
        self.links
            .half_made(name, created.into_iter().chain(rotated))
            .await
    }
}
