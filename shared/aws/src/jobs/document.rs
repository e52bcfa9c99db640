//! What devices are sent: a template, its parameters, and checksums as they are
//! now.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::JobTemplate;
use lamplighter_domain::csr::hex;
use lamplighter_domain::job::S3Object;
use lamplighter_domain::names::JobTemplateName;
use lamplighter_domain::rollout::order::Order;
use lamplighter_domain::rollout::spec::Spec;

use super::Jobs;
use crate::describe::found;
use crate::table::Key;
use crate::type_names;

impl Jobs {
    /// Fills the order's document in, and what follows for the rollout from its
    /// template.
    ///
    /// # Errors
    /// `NotFound` without the template or an object; `Invalid` for parameters,
    /// and for a document that would break a rule.
    pub(super) async fn prepare(&self, order: &mut Order, spec: &mut Spec) -> Result<(), Failure> {
        let row: Option<JobTemplate> = self.table.get(&Key::job_template(&order.template)).await?;
        let row = row.ok_or_else(|| no_template(&order.template))?;
        let template = row.read("template")?;
        if let Some(declared) = &template.thing_type {
            spec.thing_type = Some(type_names::current(&self.table, declared).await?);
        }
        let prepared = template.prepare(&order.parameters, &self.settings.region)?;
        spec.confirms.clone_from(&prepared.confirms);
        let checksums = self.checksums(&prepared.objects).await?;
        order.document = prepared.finish(&checksums)?.json();
        Ok(())
    }

    async fn checksums(
        &self,
        objects: &BTreeSet<S3Object>,
    ) -> Result<BTreeMap<S3Object, String>, Failure> {
        let looks = objects.iter().map(async |object| {
            let sum = self.checksum(object).await?;
            Ok::<_, Failure>((object.clone(), sum))
        });
        Ok(try_join_all(looks).await?.into_iter().collect())
    }

    /// The SHA-256 that S3 keeps of an object.
    async fn checksum(&self, object: &S3Object) -> Result<String, Failure> {
        let bucket = &self.settings.bucket;
        if object.bucket != *bucket {
            return Err(Failure::invalid(
                "parameters",
                format!("devices cannot be sent to {object}"),
                format!("Upload it into the bucket {bucket}; the stack may read no other."),
            ));
        }
        let answer = self
            .s3
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        let seen = found("s3:HeadObject", answer)?.ok_or_else(|| {
            Failure::not_found(
                "parameters",
                format!("there is no {object}"),
                "Upload it first.",
            )
        })?;
        // A checksum of the parts' checksums is none of the object's.
        let whole = seen.checksum_type() != Some(&ChecksumType::Composite);
        let sum = seen
            .checksum_sha256
            .filter(|sum| whole && !sum.contains('-'));
        let bytes = sum.and_then(|sum| STANDARD.decode(sum).ok());
        bytes.map(|bytes| hex(&bytes)).ok_or_else(|| {
            Failure::invalid(
                "parameters",
                format!("S3 keeps no SHA-256 of {object}"),
                "Upload it in one part with --checksum-algorithm SHA256.",
            )
        })
    }
}

/// That there is no such template.
pub(super) fn no_template(name: &JobTemplateName) -> Failure {
    Failure::not_found(
        "template",
        format!("there is no job template {name}"),
        "Declare it in a catalog and apply that.",
    )
}
