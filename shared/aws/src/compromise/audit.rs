//! An audit's findings, read and acted upon one by one.

use std::collections::BTreeSet;

use lamplighter_domain::compromise::Report;
use lamplighter_domain::compromise::audit::{Response, Summary};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::rotation::{Asked, Reason};
use lamplighter_domain::{Failure, Kind};
use serde::Deserialize;

use super::Cases;
use crate::failure;
use crate::telemetry;

/// An event of SNS ("Invoking Lambda functions with Amazon SNS notifications").
#[derive(Debug, Deserialize)]
pub struct Notifications {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "Sns")]
    sns: Notification,
}

#[derive(Debug, Deserialize)]
struct Notification {
    #[serde(rename = "Message")]
    message: String,
}

impl Cases {
    /// Acts on what audits found. What no retry can help is logged; should
    /// anything be worth repeating, the whole is, which does no harm.
    ///
    /// # Errors
    /// The last failure that is worth repeating.
    pub async fn audited(&self, notifications: &Notifications) -> Result<(), Failure> {
        let mut again = None;
        for record in &notifications.records {
            let summary = match Summary::parse(&record.sns.message) {
                Ok(summary) => summary,
                Err(failure) => {
                    telemetry::failed(&failure);
                    continue;
                }
            };
            for (check, response) in summary.responses() {
                if response == Response::Tell {
                    tracing::warn!(check, "an audit found fault with an authority");
                    continue;
                }
                for id in self.certificates_found(&summary.task_id, check).await? {
                    if let Err(failure) = self.respond(&id, check, response).await {
                        if !matches!(failure.kind, Kind::Busy | Kind::Unknown) {
                            telemetry::failed(&failure);
                            continue;
                        }
                        again = Some(failure);
                    }
                }
            }
        }
        again.map_or(Ok(()), Err)
    }

    /// The certificates that a check found fault with; suppressed findings are
    /// left out by AWS.
    async fn certificates_found(
        &self,
        task: &str,
        check: &str,
    ) -> Result<BTreeSet<CertificateId>, Failure> {
        let request = self.links.iot.list_audit_findings();
        let mut pages = request
            .task_id(task)
            .check_name(check)
            .max_results(250)
            .into_paginator()
            .send();
        let mut ids = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("iot:ListAuditFindings", &error))?;
            let found = page.findings.unwrap_or_default();
            ids.extend(found.iter().filter_map(|finding| {
                let resource = finding.non_compliant_resource.as_ref()?;
                let resource = resource.resource_identifier.as_ref()?;
                CertificateId::parse(resource.device_certificate_id.as_deref()?).ok()
            }));
        }
        Ok(ids)
    }

    async fn respond(
        &self,
        id: &CertificateId,
        check: &str,
        response: Response,
    ) -> Result<(), Failure> {
        let found = self.links.certificate(id).await?;
        if found.things.is_empty() {
            tracing::info!(certificate = id.as_str(), check, "of no device");
        }
        for name in found
            .things
            .iter()
            .filter_map(|name| ThingName::parse(name).ok())
        {
            match response {
                Response::Tell => {}
                Response::Renew => self.renew(&name, id).await?,
                Response::Report(verdict) => {
                    let report = Report {
                        certificate_id: Some(id.clone()),
                        verdict,
                        reason: format!("an audit found it: {check}"),
                    };
                    self.report(&name, &report, "Device Defender").await?;
                }
            }
        }
        Ok(())
    }

    /// Renews a certificate that is still the device's.
    async fn renew(&self, name: &ThingName, id: &CertificateId) -> Result<(), Failure> {
        let device = self.rows(name).await?.record;
        if device.is_some_and(|device| device.certificate_id.as_ref() == Some(id)) {
            let asked = Asked::default();
            self.renewals.request(name, &asked, Reason::Due).await?;
        }
        Ok(())
    }
}
