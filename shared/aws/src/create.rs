//! Creates a device: a saga that any later delivery can go on with or undo.
//!
//! The claim persists the whole plan before any effect (invariant 6). A later
//! delivery that finds it half done takes the lease, ensures every step again
//! and commits; a terminal failure undoes, newest first, whatever may have
//! been done, unknown outcomes included (invariant 3).

mod undo;
mod work;

use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::create::{self, CreatePlan, Mint, Step, Surroundings, Taken};
use lamplighter_domain::csr::Csr;
use lamplighter_domain::device::{CertificateRecord, Custody, DeviceRecord, Issuer};
use lamplighter_domain::due::RenewalAge;
use lamplighter_domain::names::{GroupName, OperationId};
use lamplighter_domain::operation::{Operation, OperationStatus};
use lamplighter_domain::request::CreateRequest;
use lamplighter_domain::time::Moment;
use serde::Serialize;

use self::work::Work;
use crate::claims::{Claimed, Claims};
use crate::clock;
use crate::issuer::{Issuers, Minted};
use crate::server_ca::AMAZON_ROOT_CA_1;
use crate::setup;
use crate::table::Table;
use crate::things::Things;
use crate::type_names::TypeNames;
use crate::vault::{self, FreshKey, Vault};

/// Everything a creation works with; built once, in init.
pub struct Creator {
    /// The registry's claims and commits.
    pub claims: Claims,
    /// AWS IoT's things and groups.
    pub things: Things,
    /// What signs certificates.
    pub issuers: Issuers,
    /// Where keys made here are kept.
    pub vault: Vault,
    /// The issuer of a device that names none.
    pub default_issuer: Issuer,
    /// The group of a device that names none.
    pub default_group: GroupName,
    /// What precedes a thing group's name in its ARN.
    pub group_arn_prefix: String,
    /// The host devices connect to.
    pub endpoint: String,
    /// The authority that signs that host's certificate.
    pub server_ca_pem: String,
    /// At what age certificates of AWS IoT's own authority are renewed.
    pub renewal_age: RenewalAge,
    /// Which of AWS's thing types a declared one is.
    pub type_names: TypeNames,
}

/// What a creation answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// The device.
    pub thing_name: String,
    /// `ACTIVE`.
    pub status: &'static str,
    /// Its certificate.
    pub certificate_id: String,
    /// The certificate itself.
    pub certificate_pem: String,
    /// What the device trusts when it connects.
    pub server_ca_pem: String,
    /// The issuing authority, where it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_pem: Option<String>,
    /// The host to connect to.
    pub endpoint: String,
    /// Who holds the private key.
    pub custody: Custody,
    /// The operation that created the device.
    pub operation_id: OperationId,
    /// Whether this request made it, or found it made.
    #[serde(skip)]
    pub fresh: bool,
}

/// How long a delivery waits for another one that is creating the same device.
const PATIENCE_MILLIS: u64 = 4000;
const POLL_MILLIS: u64 = 150;

impl Creator {
    /// What the stack gives a creation.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let (table, things) = (Table::from_env(sdk)?, Things::new(sdk));
        Ok(Self {
            issuers: Issuers::from_env(sdk, &table, &things)?,
            claims: Claims { table },
            things,
            default_issuer: Issuer::parse(&setup::required("ISSUER")?)?,
            vault: Vault::from_env(sdk)?,
            default_group: GroupName::parse(&setup::required("DEFAULT_GROUP")?)?,
            group_arn_prefix: setup::required("GROUP_ARN_PREFIX")?,
            endpoint: setup::required("IOT_ENDPOINT")?,
            server_ca_pem: setup::optional("SERVER_CA_PEM")
                .unwrap_or_else(|| AMAZON_ROOT_CA_1.to_owned()),
            renewal_age: setup::renewal_age()?,
            type_names: TypeNames::default(),
        })
    }

    /// Creates the device, or finds it created. `deadline` is when this
    /// invocation is certain to have ended; until then nobody else takes over.
    ///
    /// A thing type is named as the catalog declares it. Where that is refused
    /// and the registry knows another name for it by now, that is tried.
    pub async fn create(
        &self,
        mut request: CreateRequest,
        idempotency_key: Option<&str>,
        deadline: Moment,
    ) -> Result<Created, Failure> {
        let Some(declared) = request.thing_type.clone() else {
            return self.create_as(request, idempotency_key, deadline).await;
        };
        let tried = self.type_names.known(&declared);
        request.thing_type = Some(tried.clone());
        let first = self
            .create_as(request.clone(), idempotency_key, deadline)
            .await;
        match first {
            Err(failure) if failure.field.as_deref() == Some("thingType") => {
                let table = &self.claims.table;
                let Some(name) = self.type_names.learn(table, &declared, &tried).await? else {
                    return Err(failure);
                };
                request.thing_type = Some(name);
                self.create_as(request, idempotency_key, deadline).await
            }
            ended => ended,
        }
    }

    async fn create_as(
        &self,
        request: CreateRequest,
        idempotency_key: Option<&str>,
        deadline: Moment,
    ) -> Result<Created, Failure> {
        let request = request
            .or_default_group(&self.default_group)
            .or_default_issuer(self.default_issuer);
        let operation_id = idempotency_key.map_or_else(clock::operation_id, OperationId::from_key);
        let plan = CreatePlan::new(operation_id, request);
        let key = (plan.custody == Custody::Vault)
            .then(|| vault::make_key(&plan.request.thing_name))
            .transpose()?;

        let started = clock::now();
        let (claimed, sealed, prepared, seen) = tokio::join!(
            self.claims.claim(&plan, started, deadline),
            self.seal(&plan, key.as_ref()),
            self.prepare(&plan, key.as_ref(), started),
            self.surroundings(&plan),
        );
        match claimed? {
            Claimed::Fresh(operation) => {
                let admitted = seen.and_then(|seen| create::admit(&plan.request, &seen, false));
                let ready = admitted.and_then(|()| Ok((sealed?, prepared?)));
                match ready {
                    Ok((sealed, mint)) => {
                        let work = Work::new(&plan, &operation, key, sealed, Some(mint));
                        self.run(work).await
                    }
                    // Nothing has been done but the claim.
                    Err(failure) => self.refuse(&operation, failure).await,
                }
            }
            Claimed::Taken(record) => self.taken(&plan, *record, started, deadline).await,
        }
    }

    /// The name is taken: answer, wait, or take over.
    async fn taken(
        &self,
        plan: &CreatePlan,
        mut record: DeviceRecord,
        started: Moment,
        deadline: Moment,
    ) -> Result<Created, Failure> {
        loop {
            let operation = self.claims.operation(&record.operation_id).await?;
            match create::taken(&plan.request, &record, operation.as_ref(), clock::now())? {
                Taken::There => return self.found(&record).await,
                Taken::Abandoned => {
                    let Some(operation) = operation else { continue };
                    if let Some(mine) = self
                        .claims
                        .take_over(&operation, clock::now(), deadline)
                        .await?
                    {
                        return self.resume(mine).await;
                    }
                }
                Taken::InFlight => {}
            }
            if started.until(clock::now()) > PATIENCE_MILLIS {
                return Err(Failure::busy(
                    "the device is being created by another request",
                    1,
                ));
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
            record = self
                .claims
                .device(&plan.request.thing_name)
                .await?
                .ok_or_else(|| Failure::busy("the other request for this device was refused", 1))?;
        }
    }

    /// Goes on with an operation whose invocation has ended without an end.
    async fn resume(&self, operation: Operation) -> Result<Created, Failure> {
        let plan = operation
            .plan
            .clone()
            .ok_or_else(|| Failure::bug("a creation without a plan"))?;
        if operation.status == OperationStatus::Undoing {
            let failure = operation
                .failure
                .clone()
                .unwrap_or_else(|| Failure::bug("an undo without a reason"));
            return self.undo(&plan, &operation, failure).await;
        }
        let key = (plan.custody == Custody::Vault)
            .then(|| vault::make_key(&plan.request.thing_name))
            .transpose()?;
        let (sealed, seen) = tokio::join!(self.seal(&plan, key.as_ref()), self.surroundings(&plan));
        match seen
            .and_then(|seen| create::admit(&plan.request, &seen, true))
            .and(sealed)
        {
            Ok(sealed) => {
                let mint = operation.mint.as_ref().map(Mint::taken_up);
                let work = Work::new(&plan, &operation, key, sealed, mint);
                self.run(work).await
            }
            Err(failure) => self.failed(&plan, &operation, failure).await,
        }
    }

    async fn surroundings(&self, plan: &CreatePlan) -> Result<Surroundings, Failure> {
        self.things
            .surroundings(&plan.request, &self.group_arn_prefix)
            .await
    }

    async fn seal(&self, plan: &CreatePlan, key: Option<&FreshKey>) -> Result<Vec<u8>, Failure> {
        match key {
            Some(key) => self.vault.seal(&plan.request.thing_name, key).await,
            None => Ok(Vec::new()),
        }
    }

    /// What will be recorded before the certificate is made. Nothing exists of
    /// it yet, so it may run beside the claim.
    async fn prepare(
        &self,
        plan: &CreatePlan,
        key: Option<&FreshKey>,
        now: Moment,
    ) -> Result<Mint, Failure> {
        let csr = work::csr(plan, key)?;
        let (issuer, thing) = (plan.request.issuer(), &plan.request.thing_name);
        self.issuers.prepare(issuer, thing, csr, now).await
    }

    /// The rounds after the claim.
    async fn run(&self, work: Work<'_>) -> Result<Created, Failure> {
        match self.rounds(&work).await {
            // What was just committed is in hand; reading it would be a round more.
            Ok((record, certificate)) => self.answer(&record, certificate, true).await,
            Err(failure) => self.failed(work.plan, work.operation, failure).await,
        }
    }

    /// What a later delivery may succeed in is left to it, at once; the rest
    /// is undone.
    async fn failed(
        &self,
        plan: &CreatePlan,
        operation: &Operation,
        failure: Failure,
    ) -> Result<Created, Failure> {
        if failure.kind.retryable() {
            self.claims.let_go(operation).await?;
            return Err(failure);
        }
        self.undo(plan, operation, failure).await
    }

    async fn rounds(&self, work: &Work<'_>) -> Result<(DeviceRecord, CertificateRecord), Failure> {
        let (plan, operation) = (work.plan, work.operation);
        let mut csr = work::csr(plan, work.key.as_ref())?.clone();
        for round in plan.rounds() {
            if round == [Step::Commit] {
                break;
            }
            let outcomes = join_all(round.iter().map(|step| self.perform(step, work, &csr))).await;
            for outcome in outcomes {
                if let Some(stored) = outcome? {
                    csr = stored;
                }
            }
        }
        let minted = work.minted()?;
        let certificate = certificate_record(plan, &csr, &minted, self.renewal_age);
        let record = self
            .claims
            .commit(plan, operation, &certificate, clock::now())
            .await?;
        Ok((record, certificate))
    }

    /// Ensures one step. Storing a key answers the signing request that counts.
    async fn perform(
        &self,
        step: &Step,
        work: &Work<'_>,
        csr: &Csr,
    ) -> Result<Option<Csr>, Failure> {
        let (plan, operation) = (work.plan, work.operation);
        match step {
            Step::CreateThing => self.things.create(&plan.request).await?,
            // A resumed creation may find another key stored than the one it
            // has just made, so there the intent follows the storing.
            Step::IntendMint if operation.attempt > 1 && plan.custody == Custody::Vault => {}
            Step::IntendMint => self.intend(work, csr).await?,
            Step::StoreKey => {
                let object = plan.key_object.as_deref().unwrap_or_default();
                let stored = self.vault.store(object, work.sealed.clone(), csr).await?;
                if operation.attempt > 1 {
                    self.intend(work, &stored).await?;
                }
                return Ok(Some(stored));
            }
            Step::Mint => {
                let (issuer, thing) = (plan.request.issuer(), &plan.request.thing_name);
                let mint = work
                    .mint_of(csr)?
                    .ok_or_else(|| Failure::bug("no intent to mint"))?;
                let minted = self
                    .issuers
                    .issue(issuer, thing, csr, &mint, work.repeats(csr))
                    .await?;
                work.set_minted(minted)?;
            }
            Step::JoinGroup(group) => self.things.join(&plan.request.thing_name, group).await?,
            Step::Attach => {
                self.things
                    .attach(&plan.request.thing_name, &work.minted()?.certificate_arn)
                    .await?;
            }
            Step::RecordCertificate => {
                self.claims
                    .record_certificate(operation, &work.minted()?.certificate_id)
                    .await?;
            }
            Step::Commit => {}
        }
        Ok(None)
    }

    /// Records what is about to be minted. What an earlier delivery recorded
    /// stands, unless it was for a key that was never stored.
    async fn intend(&self, work: &Work<'_>, csr: &Csr) -> Result<(), Failure> {
        let request = &work.plan.request;
        let mint = match work.mint_of(csr)? {
            Some(mint) => mint,
            None => {
                self.issuers
                    .prepare(request.issuer(), &request.thing_name, csr, clock::now())
                    .await?
            }
        };
        self.claims.intend_mint(work.operation, &mint).await?;
        work.set_mint(mint)
    }

    async fn refuse(&self, operation: &Operation, failure: Failure) -> Result<Created, Failure> {
        self.claims
            .release(operation, &failure, clock::now())
            .await?;
        Err(failure)
    }

    /// The answer for a device that was there before.
    async fn found(&self, record: &DeviceRecord) -> Result<Created, Failure> {
        let name = &record.request.thing_name;
        let id = record
            .certificate_id
            .as_ref()
            .ok_or_else(|| Failure::bug(format!("{name} is ACTIVE without a certificate")))?;
        let certificate = self.claims.certificate(name, id).await?;
        self.answer(record, certificate, false).await
    }

    async fn answer(
        &self,
        record: &DeviceRecord,
        certificate: CertificateRecord,
        fresh: bool,
    ) -> Result<Created, Failure> {
        let issuer_pem = self.issuers.certificate_of_issuer(&certificate).await?;
        Ok(Created {
            thing_name: record.request.thing_name.to_string(),
            status: record.status.name(),
            certificate_id: certificate.certificate_id.to_string(),
            certificate_pem: certificate.certificate_pem,
            server_ca_pem: self.server_ca_pem.clone(),
            issuer_pem,
            endpoint: self.endpoint.clone(),
            custody: record.custody,
            operation_id: record.created_by.clone(),
            fresh,
        })
    }
}

fn certificate_record(
    plan: &CreatePlan,
    csr: &Csr,
    minted: &Minted,
    renewal_age: RenewalAge,
) -> CertificateRecord {
    let request = &plan.request;
    let (issuer, name) = (request.issuer(), &request.thing_name);
    CertificateRecord {
        custody: plan.custody,
        key_object: plan.key_object.clone(),
        key_purged_at: None,
        ..minted.record(issuer, name, csr.public_key(), renewal_age)
    }
}

/// Runs futures concurrently in this task and waits for all of them, so that
/// no effect is cut off half way by another's failure.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}
