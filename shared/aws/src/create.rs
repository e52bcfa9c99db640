//! Creates a device: a saga that any later delivery can go on with or undo.
//!
//! The claim persists the whole plan before any effect (invariant 6). A later
//! delivery that finds it half done takes the lease, ensures every step again
//! and commits; a terminal failure undoes, newest first, whatever may have
//! been done, unknown outcomes included (invariant 3).

use std::sync::Mutex;
use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::create::{self, CreatePlan, Mint, Step, Taken};
use lamplighter_domain::csr::Csr;
use lamplighter_domain::device::{CertificateRecord, Custody, DeviceRecord, Issuer};
use lamplighter_domain::due::{Due, RenewalAge};
use lamplighter_domain::names::{GroupName, OperationId, ThingName};
use lamplighter_domain::operation::{Operation, OperationStatus};
use lamplighter_domain::request::CreateRequest;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;

use crate::claims::{Claimed, Claims};
use crate::clock;
use crate::issuer::{self, Minted};
use crate::server_ca::AMAZON_ROOT_CA_1;
use crate::setup;
use crate::table::Table;
use crate::things::Things;
use crate::vault::{self, FreshKey, Vault};

/// Everything a creation works with; built once, in init.
pub struct Creator {
    /// The registry's claims and commits.
    pub claims: Claims,
    /// AWS IoT's things and groups.
    pub things: Things,
    /// Where keys made here are kept.
    pub vault: Vault,
    /// The group of a device that names none.
    pub default_group: GroupName,
    /// The host devices connect to.
    pub endpoint: String,
    /// The authority that signs that host's certificate.
    pub server_ca_pem: String,
    /// At what age certificates of AWS IoT's own authority are renewed.
    pub renewal_age: RenewalAge,
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
        Ok(Self {
            claims: Claims {
                table: Table::from_env(sdk)?,
            },
            things: Things::new(sdk),
            vault: Vault::from_env(sdk)?,
            default_group: GroupName::parse(&setup::required("DEFAULT_GROUP")?)?,
            endpoint: setup::required("IOT_ENDPOINT")?,
            server_ca_pem: setup::optional("SERVER_CA_PEM")
                .unwrap_or_else(|| AMAZON_ROOT_CA_1.to_owned()),
            renewal_age: setup::renewal_age()?,
        })
    }

    /// Creates the device, or finds it created. `deadline` is when this
    /// invocation is certain to have ended; until then nobody else takes over.
    pub async fn create(
        &self,
        request: CreateRequest,
        idempotency_key: Option<&str>,
        deadline: Moment,
    ) -> Result<Created, Failure> {
        let request = request.or_default_group(&self.default_group);
        let operation_id = idempotency_key.map_or_else(clock::operation_id, OperationId::from_key);
        let plan = CreatePlan::new(operation_id, request);
        let key = (plan.custody == Custody::Vault)
            .then(|| vault::make_key(&plan.request.thing_name))
            .transpose()?;

        let started = clock::now();
        let (claimed, sealed, seen) = tokio::join!(
            self.claims.claim(&plan, started, deadline),
            self.seal(&plan, key.as_ref()),
            self.things.surroundings(&plan.request),
        );
        match claimed? {
            Claimed::Fresh(operation) => {
                let admitted = seen.and_then(|seen| create::admit(&plan.request, &seen, false));
                match admitted.and(sealed) {
                    Ok(sealed) => self.run(Work::new(&plan, &operation, key, sealed)).await,
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
                Taken::There => return self.answer(&record, false).await,
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
        let (sealed, seen) = tokio::join!(
            self.seal(&plan, key.as_ref()),
            self.things.surroundings(&plan.request)
        );
        match seen
            .and_then(|seen| create::admit(&plan.request, &seen, true))
            .and(sealed)
        {
            Ok(sealed) => self.run(Work::new(&plan, &operation, key, sealed)).await,
            Err(failure) => self.failed(&plan, &operation, failure).await,
        }
    }

    async fn seal(&self, plan: &CreatePlan, key: Option<&FreshKey>) -> Result<Vec<u8>, Failure> {
        match key {
            Some(key) => self.vault.seal(&plan.request.thing_name, key).await,
            None => Ok(Vec::new()),
        }
    }

    /// The rounds after the claim.
    async fn run(&self, work: Work<'_>) -> Result<Created, Failure> {
        match self.rounds(&work).await {
            Ok(record) => self.answer(&record, true).await,
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

    async fn rounds(&self, work: &Work<'_>) -> Result<DeviceRecord, Failure> {
        let (plan, operation) = (work.plan, work.operation);
        let mut csr = match (&plan.request.csr, &work.key) {
            (Some(csr), _) => csr.clone(),
            (None, Some(key)) => key.csr.clone(),
            (None, None) => return Err(Failure::bug("neither a signing request nor a key")),
        };
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
        self.claims
            .commit(plan, operation, &certificate, clock::now())
            .await
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
            Step::IntendMint => {
                self.claims
                    .intend_mint(operation, &intent(operation, csr))
                    .await?;
            }
            Step::StoreKey => {
                let object = plan.key_object.as_deref().unwrap_or_default();
                let stored = self.vault.store(object, work.sealed.clone(), csr).await?;
                if operation.attempt > 1 {
                    self.claims
                        .intend_mint(operation, &intent(operation, &stored))
                        .await?;
                }
                return Ok(Some(stored));
            }
            Step::Mint => work.set(self.mint(operation, csr).await?)?,
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

    /// Makes the certificate; an earlier intent means that one may exist.
    async fn mint(&self, operation: &Operation, csr: &Csr) -> Result<Minted, Failure> {
        if let Some(earlier) = &operation.mint
            && let Some(found) = self
                .adopt(&operation.thing_name, csr, earlier.intended_at)
                .await?
        {
            return Ok(found);
        }
        let since = clock::now();
        match issuer::mint(&self.things.iot, csr).await {
            Err(failure) if failure.kind == Kind::Unknown => {
                match self.adopt(&operation.thing_name, csr, since).await? {
                    Some(found) => Ok(found),
                    None => issuer::mint(&self.things.iot, csr).await,
                }
            }
            outcome => outcome,
        }
    }

    /// Keeps one of the certificates that exist for a key, the attached one if
    /// one is, and discards the rest.
    async fn adopt(
        &self,
        thing: &ThingName,
        csr: &Csr,
        since: Moment,
    ) -> Result<Option<Minted>, Failure> {
        let mut found = issuer::find_minted(&self.things.iot, csr.public_key(), since).await?;
        let attached = self.things.principals(thing).await?;
        found.sort_by_key(|minted| attached.contains(&minted.certificate_arn));
        let kept = found.pop();
        for spare in found {
            issuer::discard(&self.things.iot, &spare.certificate_id).await?;
        }
        Ok(kept)
    }

    /// Undoes what the operation did or may have done, then says why.
    async fn undo(
        &self,
        plan: &CreatePlan,
        operation: &Operation,
        failure: Failure,
    ) -> Result<Created, Failure> {
        self.claims.begin_undo(operation, &failure).await?;
        let made = self.made(operation).await?;
        for step in plan.undo() {
            let undone = self.undo_step(&step, plan, &made).await;
            match undone {
                Ok(()) => {}
                Err(busy) if busy.kind.retryable() => return Err(busy),
                Err(stuck) => {
                    self.claims.stuck(operation, &stuck, clock::now()).await?;
                    return Err(Failure::new(
                        Kind::Stuck,
                        format!("the creation failed ({failure}) and could not be undone"),
                        "Delete the device; if that fails too, see the operation.",
                    )
                    .operator(format!("undoing {step:?}: {}", stuck.operator)));
                }
            }
        }
        self.refuse(operation, failure).await
    }

    /// The certificates that the operation made, or may have made.
    async fn made(&self, operation: &Operation) -> Result<Vec<Minted>, Failure> {
        // Read afresh: this very invocation may have recorded the intent.
        let recorded = self.claims.operation(&operation.operation_id).await?;
        let Some(mint) = recorded.and_then(|operation| operation.mint) else {
            return Ok(Vec::new());
        };
        let iot = &self.things.iot;
        match &mint.certificate_id {
            Some(id) => Ok(issuer::describe(iot, id.as_str())
                .await?
                .into_iter()
                .collect()),
            None => issuer::find_minted(iot, &mint.public_key, mint.intended_at).await,
        }
    }

    /// Undoes one step, as far as it was this operation's doing: a thing that
    /// somebody else has made meanwhile, and what is attached to it, stays.
    async fn undo_step(
        &self,
        step: &Step,
        plan: &CreatePlan,
        made: &[Minted],
    ) -> Result<(), Failure> {
        let name = &plan.request.thing_name;
        match step {
            Step::Attach => {
                for certificate in made {
                    self.things
                        .detach(name, &certificate.certificate_arn)
                        .await?;
                }
                Ok(())
            }
            Step::Mint => {
                for certificate in made {
                    issuer::discard(&self.things.iot, &certificate.certificate_id).await?;
                }
                Ok(())
            }
            Step::CreateThing => {
                let ours: Vec<_> = made
                    .iter()
                    .map(|made| made.certificate_arn.as_str())
                    .collect();
                self.things.delete_as_planned(&plan.request, &ours).await
            }
            Step::StoreKey => match &plan.key_object {
                Some(object) => self.vault.purge(object).await,
                None => Ok(()),
            },
            Step::IntendMint | Step::JoinGroup(_) | Step::RecordCertificate | Step::Commit => {
                Ok(())
            }
        }
    }

    async fn refuse(&self, operation: &Operation, failure: Failure) -> Result<Created, Failure> {
        self.claims
            .release(operation, &failure, clock::now())
            .await?;
        Err(failure)
    }

    /// The answer for a device that is there.
    async fn answer(&self, record: &DeviceRecord, fresh: bool) -> Result<Created, Failure> {
        let id = record.certificate_id.as_ref().ok_or_else(|| {
            Failure::bug(format!(
                "{} is ACTIVE without a certificate",
                record.request.thing_name
            ))
        })?;
        let certificate = self
            .claims
            .certificate(&record.request.thing_name, id)
            .await?;
        Ok(Created {
            thing_name: record.request.thing_name.to_string(),
            status: record.status.name(),
            certificate_id: id.to_string(),
            certificate_pem: certificate.certificate_pem,
            server_ca_pem: self.server_ca_pem.clone(),
            issuer_pem: None,
            endpoint: self.endpoint.clone(),
            custody: record.custody,
            operation_id: record.created_by.clone(),
            fresh,
        })
    }
}

/// What the steps of one run share.
struct Work<'a> {
    plan: &'a CreatePlan,
    operation: &'a Operation,
    key: Option<FreshKey>,
    sealed: Vec<u8>,
    minted: Mutex<Option<Minted>>,
}

impl<'a> Work<'a> {
    fn new(
        plan: &'a CreatePlan,
        operation: &'a Operation,
        key: Option<FreshKey>,
        sealed: Vec<u8>,
    ) -> Self {
        Self {
            plan,
            operation,
            key,
            sealed,
            minted: Mutex::default(),
        }
    }

    fn set(&self, minted: Minted) -> Result<(), Failure> {
        *self
            .minted
            .lock()
            .map_err(|_| Failure::bug("a poisoned lock"))? = Some(minted);
        Ok(())
    }

    fn minted(&self) -> Result<Minted, Failure> {
        let minted = self
            .minted
            .lock()
            .map_err(|_| Failure::bug("a poisoned lock"))?;
        minted
            .clone()
            .ok_or_else(|| Failure::bug("attaching before minting"))
    }
}

/// An earlier intent's time stands: a certificate may exist since then.
fn intent(operation: &Operation, csr: &Csr) -> Mint {
    let intended_at = operation
        .mint
        .as_ref()
        .map_or_else(clock::now, |earlier| earlier.intended_at);
    Mint {
        intended_at,
        public_key: csr.public_key().clone(),
        certificate_id: None,
    }
}

fn certificate_record(
    plan: &CreatePlan,
    csr: &Csr,
    minted: &Minted,
    renewal_age: RenewalAge,
) -> CertificateRecord {
    let ends = lamplighter_domain::csr::not_after(&minted.certificate_pem).unwrap_or_default();
    let not_after = Moment(u64::try_from(ends).unwrap_or_default() * 1000);
    let (issuer, issued_at) = (Issuer::AwsIot, clock::now());
    let name = &plan.request.thing_name;
    let due = Due::of(issuer, issued_at, not_after, name, renewal_age);
    CertificateRecord {
        certificate_id: minted.certificate_id.clone(),
        certificate_pem: minted.certificate_pem.clone(),
        public_key: csr.public_key().clone(),
        custody: plan.custody,
        key_object: plan.key_object.clone(),
        issuer,
        issued_at,
        not_after,
        due_at: Some(due.due_at),
        due_shard: Some(due.due_shard),
        hand_out: None,
    }
}

/// Runs futures concurrently in this task and waits for all of them, so that
/// no effect is cut off half way by another's failure.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}
