//! Looks at every certificate that is or was the device's.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::delete::{
    CertificateSeen, CertificateState, DeleteProgress, certificate_of,
};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::operation::OperationStatus;
use lamplighter_domain::rotation::Phase;
use lamplighter_domain::time::Moment;

use super::observe::{absent, all_pages};
use super::registry::Rows;
use super::{Deletion, at_once};
use crate::issuer::aws_iot;

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
            let mut seen = self.certificate(&id).await?;
            seen.not_after = seen.not_after.max(ends.get(&id).copied());
            Ok((id, seen))
        });
        at_once(looks).await.into_iter().collect()
    }

    async fn certificate(&self, id: &CertificateId) -> Result<CertificateSeen, Failure> {
        let gone = CertificateSeen {
            state: None,
            things: BTreeSet::new(),
            arn: String::new(),
            not_after: None,
        };
        let answer = self
            .iot
            .describe_certificate()
            .certificate_id(id.as_str())
            .send()
            .await;
        let description = match answer {
            Ok(answer) => answer.certificate_description,
            Err(error) => return absent("iot:DescribeCertificate", &error).map(|()| gone),
        };
        let description = description
            .ok_or_else(|| Failure::bug(format!("certificate {id} has no description")))?;
        let end = description.validity.and_then(|validity| validity.not_after);
        let arn = description.certificate_arn.unwrap_or_default();
        Ok(CertificateSeen {
            state: Some(match description.status {
                Some(CertificateStatus::Inactive) => CertificateState::Inactive,
                Some(CertificateStatus::Revoked) => CertificateState::Revoked,
                _ => CertificateState::InForce,
            }),
            things: self.things_of(&arn).await?,
            arn,
            not_after: end
                .and_then(|end| u64::try_from(end.to_millis().ok()?).ok())
                .map(Moment),
        })
    }

    async fn things_of(&self, arn: &str) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_principal_things().principal(arn);
        all_pages!("iot:ListPrincipalThings", request, things, |name| Some(
            name.clone()
        ))
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
        let mut ids = BTreeSet::new();
        for mint in created.into_iter().chain(rotated) {
            // Signed before it was registered, it has one id and no other.
            if mint.certificate_pem.is_none() {
                let (key, since) = (&mint.public_key, mint.intended_at);
                let found = aws_iot::find_minted(&self.iot, name, key, since).await?;
                ids.extend(found.into_iter().map(|minted| minted.certificate_id));
            }
            ids.extend(mint.certificate_id);
        }
        Ok(ids)
    }
}
