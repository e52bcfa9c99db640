//! The keys that rotations make here, and those that lose their use with them.

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::csr::Csr;
use lamplighter_domain::delete::MOST_VERSIONS_A_CALL;
use lamplighter_domain::names::ThingName;

use crate::objects::Bucket;
use crate::outcome::Outcome;
use crate::setup;
use crate::vault::{self, Vault};

/// Custody, as a rotation uses it: keys are put in and purged, never opened.
pub struct Safe {
    vault: Vault,
    /// The custody bucket, and its replica if there is one.
    buckets: Vec<Bucket>,
}

impl Safe {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let replica = setup::optional("REPLICA_BUCKET");
        Ok(Self::new(Vault::from_env(sdk)?, replica))
    }

    /// A vault, and the name of the bucket that it is replicated to.
    pub fn new(vault: Vault, replica: Option<String>) -> Self {
        let names = std::iter::once(vault.bucket.clone()).chain(replica);
        let bucket = |name| Bucket::new(name, vault.s3.clone());
        Self {
            buckets: names.map(bucket).collect(),
            vault,
        }
    }

    /// Makes a key and stores it under this name, unless one is stored there:
    /// whoever comes again gets the signing request of the key that is.
    pub(super) async fn make(&self, thing: &ThingName, object: &str) -> Result<Csr, Failure> {
        let key = vault::make_key(thing)?;
        let sealed = self.vault.seal(thing, &key).await?;
        self.vault.store(object, sealed, &key.csr).await
    }

    /// Purges every version of a key object. S3 replicates no deletion of a
    /// version, so the replica is purged by itself ("What does Amazon S3
    /// replicate?", Amazon S3 User Guide).
    pub async fn purge(&self, object: &str) -> Result<(), Failure> {
        for bucket in &self.buckets {
            let versions: Vec<_> = bucket.versions(object).await?.into_iter().collect();
            for some in versions.chunks(MOST_VERSIONS_A_CALL) {
                match bucket.purge(some).await? {
                    Outcome::Done => {}
                    Outcome::Settling(failure) | Outcome::Later(failure) => return Err(failure),
                    Outcome::NotStarted => {
                        return Err(Failure::bug("a purge that was not started"));
                    }
                }
            }
        }
        Ok(())
    }
}
