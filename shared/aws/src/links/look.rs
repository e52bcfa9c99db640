//! Looks at what AWS links to a device: all pages of all lists.

use std::collections::BTreeSet;

use aws_sdk_iot::types::{CertificateStatus, JobExecutionStatus};
use aws_sdk_iotsecuretunneling::types::TunnelStatus;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;
use lamplighter_domain::create::Mint;
use lamplighter_domain::delete::{CertificateSeen, CertificateState, ObjectVersion};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;
use tokio::try_join;

use super::Links;
use crate::failure::{self, Cause};
use crate::issuer::aws_iot;

/// Yields every item of every page, or none if what is listed is not there.
macro_rules! all_pages {
    ($api:literal, $request:expr, $items:ident, $map:expr) => {{
        let mut pages = $request.into_paginator().send();
        let mut found = BTreeSet::new();
        loop {
            match pages.next().await {
                None => break Ok(found),
                Some(Ok(page)) => found.extend(page.$items().iter().filter_map($map)),
                Some(Err(error)) => match absent($api, &error) {
                    Ok(()) => break Ok(found),
                    Err(failure) => break Err(failure),
                },
            }
        }
    }};
}
pub(crate) use all_pages;

impl Links {
    pub(crate) async fn principals(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_thing_principals().thing_name(name.as_str());
        all_pages!("iot:ListThingPrincipals", request, principals, |one| Some(
            one.clone()
        ))
    }

    /// The executions that a device could still start or finish. Ended ones are
    /// the job's history, not the device's.
    pub(crate) async fn executions(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let list = async |status| {
            let request = self
                .iot
                .list_job_executions_for_thing()
                .thing_name(name.as_str())
                .status(status);
            all_pages!(
                "iot:ListJobExecutionsForThing",
                request,
                execution_summaries,
                |one| { one.job_id.clone() }
            )
        };
        let (queued, in_progress): (BTreeSet<_>, BTreeSet<_>) = try_join!(
            list(JobExecutionStatus::Queued),
            list(JobExecutionStatus::InProgress)
        )?;
        Ok(queued.into_iter().chain(in_progress).collect())
    }

    /// A closed tunnel stays closed and carries nothing; AWS lists it for a while.
    pub(crate) async fn open_tunnels(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self.tunnels.list_tunnels().thing_name(name.as_str());
        all_pages!("iot:ListTunnels", request, tunnel_summaries, |tunnel| {
            tunnel
                .tunnel_id
                .clone()
                .filter(|_| tunnel.status != Some(TunnelStatus::Closed))
        })
    }

    pub(crate) async fn connected(&self, name: &ThingName) -> Result<bool, Failure> {
        match self
            .data
            .get_connection()
            .client_id(name.as_str())
            .send()
            .await
        {
            Ok(connection) => Ok(connection.connected),
            Err(error) => absent("iot:GetConnection", &error).map(|()| false),
        }
    }

    pub(crate) async fn replicas(
        &self,
        prefix: &str,
    ) -> Result<Option<BTreeSet<ObjectVersion>>, Failure> {
        match &self.replica {
            Some(bucket) => bucket.versions(prefix).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn certificate(&self, id: &CertificateId) -> Result<CertificateSeen, Failure> {
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

    pub(crate) async fn things_of(&self, arn: &str) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_principal_things().principal(arn);
        all_pages!("iot:ListPrincipalThings", request, things, |name| Some(
            name.clone()
        ))
    }

    /// The certificates that unfinished work may have made: the intent to make
    /// one is on record, the certificate may not be.
    pub(crate) async fn half_made(
        &self,
        thing: &ThingName,
        mints: impl IntoIterator<Item = Mint>,
    ) -> Result<BTreeSet<CertificateId>, Failure> {
        let mut ids = BTreeSet::new();
        for mint in mints {
            // Signed before it was registered, it has one id and no other.
            if mint.certificate_pem.is_none() {
                let (key, since) = (&mint.public_key, mint.intended_at);
                let found = aws_iot::find_minted(&self.iot, thing, key, since).await?;
                ids.extend(found.into_iter().map(|minted| minted.certificate_id));
            }
            ids.extend(mint.certificate_id);
        }
        Ok(ids)
    }
}

/// That a look found nothing, or why it failed.
pub(crate) fn absent<E>(api: &str, error: &SdkError<E, HttpResponse>) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match failure::cause(error) {
        Cause::NotFound => Ok(()),
        _ => Err(failure::of(api, error)),
    }
}
