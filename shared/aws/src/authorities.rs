//! The life of our own authority: made once, followed by the next one.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use lamplighter_domain::Failure;
use lamplighter_domain::authority::{
    Authority, AuthorityPlan, InitRequest, RotationRequest, Standing, authority_certificate,
};
use lamplighter_domain::time::Moment;

use crate::signing::sign;
use crate::table::{self, Key, Table};
use crate::{clock, failure, setup};

/// The authorities of a stack.
pub struct Authorities {
    /// The registry, which keeps them.
    pub table: Table,
    /// KMS, which signs for them.
    pub kms: Client,
    /// The ARNs of the keys that are used in turn.
    pub keys: Vec<String>,
}

/// What stands after a request, and whether this request made it.
pub struct Settled {
    /// The authorities.
    pub standing: Standing,
    /// Whether the active one is new.
    pub fresh: bool,
}

impl Authorities {
    /// The stack's authorities.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let keys = setup::required("AUTHORITY_KEY_ARNS")?;
        Ok(Self {
            table: Table::from_env(sdk)?,
            kms: Client::new(sdk),
            keys: keys.split(',').map(str::to_owned).collect(),
        })
    }

    /// What stands, if an authority has been made.
    pub async fn standing(&self) -> Result<Option<Standing>, Failure> {
        self.table.get(&Key::standing()).await
    }

    /// Makes the first authority, or finds it made.
    pub async fn init(&self, request: &InitRequest, now: Moment) -> Result<Settled, Failure> {
        let standing = self.standing().await?;
        let plan = request.decide(standing.as_ref(), &self.keys, now)?;
        self.settle(standing, plan, now).await
    }

    /// Makes the next authority, or finds it made. The one before it stays
    /// listed until it ends.
    pub async fn rotate(&self, request: &RotationRequest, now: Moment) -> Result<Settled, Failure> {
        let standing = self.standing().await?;
        let plan = request.decide(standing.as_ref(), &self.keys, now)?;
        self.settle(standing, plan, now).await
    }

    async fn settle(
        &self,
        standing: Option<Standing>,
        plan: Option<AuthorityPlan>,
        now: Moment,
    ) -> Result<Settled, Failure> {
        match (standing, plan) {
            (standing, Some(plan)) => {
                let made = self.make(plan).await?;
                let standing = self.record(standing.as_ref(), made, now).await?;
                Ok(Settled {
                    standing,
                    fresh: true,
                })
            }
            (Some(standing), None) => Ok(Settled {
                standing,
                fresh: false,
            }),
            (None, None) => Err(Failure::bug("nothing stands and nothing is to be made")),
        }
    }

    /// Signs an authority's certificate with its own key. Until it is recorded
    /// nobody knows of it, so a crash in between leaves nothing behind.
    async fn make(&self, plan: AuthorityPlan) -> Result<Authority, Failure> {
        let answer = self
            .kms
            .get_public_key()
            .key_id(&plan.key_arn)
            .send()
            .await
            .map_err(|error| failure::of("kms:GetPublicKey", &error))?;
        let public_key = answer.public_key.map(Blob::into_inner).unwrap_or_default();
        let unsigned = authority_certificate(&plan, &public_key, clock::serial()?)?;
        let signed = sign(&self.kms, &plan.key_arn, &unsigned).await?;
        plan.made(signed)
    }

    /// Makes an authority the active one, if what was seen still stands.
    async fn record(
        &self,
        seen: Option<&Standing>,
        made: Authority,
        now: Moment,
    ) -> Result<Standing, Failure> {
        let row = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(
                &Key::authority(&made.authority_id),
                &made,
            )?))
            .condition_expression("attribute_not_exists(PK)");
        let next = match seen {
            None => Standing {
                active: made,
                earlier: Vec::new(),
            },
            Some(seen) => seen.followed_by(made, now),
        };
        let pointer = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::standing(), &next)?));
        let pointer = match seen {
            None => pointer.condition_expression("attribute_not_exists(PK)"),
            Some(seen) => pointer
                .condition_expression("#active.authorityId = :seen")
                .expression_attribute_names("#active", "active")
                .expression_attribute_values(":seen", table::attribute(&seen.active.authority_id)?),
        };
        let changes = [row, pointer].map(|put| {
            let put = put.build().map_err(table::incomplete)?;
            Ok(TransactWriteItem::builder().put(put).build())
        });
        let changes = changes.into_iter().collect::<Result<Vec<_>, Failure>>()?;
        match self.table.transact(changes).await? {
            None => Ok(next),
            Some(_) => Err(Failure::busy(
                "another request has just made an authority",
                1,
            )),
        }
    }
}
