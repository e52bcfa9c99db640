//! Key objects: every version, in the custody bucket and in its replica.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use lamplighter_domain::Failure;
use lamplighter_domain::delete::ObjectVersion;

use crate::failure;
use crate::outcome::{Outcome, outcome};

/// A bucket and the client for the region it is in.
#[derive(Clone)]
pub struct Bucket {
    name: String,
    client: Client,
    /// The replica is in another region, which S3 itself tells when it is
    /// asked in the wrong one; so no parameter can contradict it.
    elsewhere: Arc<OnceLock<Client>>,
}

impl Bucket {
    /// A bucket by its name.
    pub fn new(name: String, client: Client) -> Self {
        Self {
            name,
            client,
            elsewhere: Arc::default(),
        }
    }

    fn client(&self) -> &Client {
        self.elsewhere.get().unwrap_or(&self.client)
    }

    /// Every version and delete marker under a prefix.
    pub(crate) async fn versions(&self, prefix: &str) -> Result<BTreeSet<ObjectVersion>, Failure> {
        let mut found = BTreeSet::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let answer = self
                .client()
                .list_object_versions()
                .bucket(&self.name)
                .prefix(prefix)
                .set_key_marker(key_marker.clone())
                .set_version_id_marker(version_marker.clone())
                .send()
                .await;
            let page = match answer {
                Ok(page) => page,
                Err(error) if self.moved(&error) => continue,
                Err(error) => return Err(failure::of("s3:ListObjectVersions", &error)),
            };
            let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
            let markers = page
                .delete_markers()
                .iter()
                .map(|m| (m.key(), m.version_id()));
            for (key, version) in versions.chain(markers) {
                let (Some(key), Some(version)) = (key, version) else {
                    return Err(Failure::bug("S3 listed a version without its key or id"));
                };
                found.insert(ObjectVersion {
                    key: key.to_owned(),
                    version_id: version.to_owned(),
                });
            }
            if !page.is_truncated().unwrap_or_default() {
                return Ok(found);
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    /// Deletes versions for good.
    pub(crate) async fn purge(&self, versions: &[ObjectVersion]) -> Result<Outcome, Failure> {
        let objects = versions.iter().map(|version| {
            ObjectIdentifier::builder()
                .key(&version.key)
                .version_id(&version.version_id)
                .build()
        });
        let malformed = |error| Failure::bug(format!("a purge: {error}"));
        let objects = objects.collect::<Result<_, _>>().map_err(malformed)?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(malformed)?;
        let answer = self
            .client()
            .delete_objects()
            .bucket(&self.name)
            .delete(delete)
            .send()
            .await;
        let refused = answer
            .as_ref()
            .ok()
            .and_then(|output| output.errors().first())
            .map(|error| {
                let code = error.code().unwrap_or("no code");
                let operator = format!(
                    "s3:DeleteObjects: {code} on {}",
                    error.key().unwrap_or_default()
                );
                Failure::busy("S3 did not delete every version", 1).operator(operator)
            });
        match refused {
            Some(failure) => Ok(Outcome::Settling(failure)),
            None => outcome("s3:DeleteObjects", answer),
        }
    }

    /// Whether S3 says that the bucket is elsewhere, and we did not know.
    fn moved<E>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        let region = error
            .raw_response()
            .and_then(|r| r.headers().get("x-amz-bucket-region"));
        let ours = self.client().config().region().map(Region::as_ref);
        let Some(region) = region.filter(|region| Some(*region) != ours) else {
            return false;
        };
        let config = self
            .client
            .config()
            .to_builder()
            .region(Region::new(region.to_owned()))
            .build();
        self.elsewhere.set(Client::from_conf(config)).is_ok()
    }
}
