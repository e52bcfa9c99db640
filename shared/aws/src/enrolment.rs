//! Enrolment: tokens issued, and used for the one certificate that each is worth.
//!
//! Nothing here makes a certificate. A token and a signing request become a
//! rotation, or a part of the one that is open, in one transaction with the
//! token's use; the rotation's workflow does the rest, and the answer waits for
//! it. So what anybody on the Internet can call has no right in AWS IoT and
//! none to sign (invariant 8).

mod rows;

use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::device::{CertificateRecord, DeviceRecord, Issuer};
use lamplighter_domain::enrolment::{
    self as domain, Admission, EnrolRequest, TokenRecord, TokenRequest,
};
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::enrol::{Entry, Standing};
use lamplighter_domain::rotation::{Rotation, Windows};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, authority};
use serde::Serialize;
use serde_json::json;
use tokio::try_join;

use crate::server_ca::AMAZON_ROOT_CA_1;
use crate::table::{Key, Table};
use crate::{clock, setup, workflows};

/// How often a token is tried anew while others change the same device.
const ATTEMPTS: u32 = 12;
/// Between two looks at a rotation that others are working on.
const PAUSE: Duration = Duration::from_millis(150);
/// No look is taken with less time than this left to the invocation: an AWS
/// call ends within 9 s, retries included (`setup`).
const LOOK_MILLIS: u64 = 10_000;

/// The clients and settings that enrolments work with.
pub struct Enrolments {
    /// The registry.
    pub table: Table,
    /// Workflows.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow that carries a rotation out.
    pub workflow_arn: String,
    /// How long a rotation's parts may take.
    pub windows: Windows,
    /// Where devices connect.
    pub endpoint: String,
    /// The authority by which they know the server there.
    pub server_ca_pem: String,
}

/// A token that was issued: shown this once. Not `Debug`, so that it ends in no
/// log by mistake.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    thing_name: ThingName,
    token: String,
    expires_at: Moment,
}

/// What an enrolled device connects with from now on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    thing_name: ThingName,
    rotation_id: OperationId,
    certificate_id: CertificateId,
    certificate_pem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_pem: Option<String>,
    server_ca_pem: String,
    endpoint: String,
}

impl Enrolments {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            table: Table::from_env(sdk)?,
            sfn: aws_sdk_sfn::Client::new(sdk),
            workflow_arn: setup::required("ROTATE_WORKFLOW_ARN")?,
            windows: setup::rotation_windows()?,
            endpoint: setup::required("IOT_ENDPOINT")?,
            server_ca_pem: setup::optional("SERVER_CA_PEM")
                .unwrap_or_else(|| AMAZON_ROOT_CA_1.to_owned()),
        })
    }

    /// Issues a token, in place of an earlier one.
    pub async fn issue(
        &self,
        name: &ThingName,
        request: &TokenRequest,
        by: &str,
    ) -> Result<Issued, Failure> {
        let token = clock::enrolment_token()?;
        for _ in 0..ATTEMPTS {
            let device: Option<DeviceRecord> = self.table.get(&Key::device(name)).await?;
            let now = clock::now();
            let record = domain::issue(name, device.as_ref(), request, &token, by, now)?;
            if self.keep(name, &record).await? {
                let (thing, until) = (name.as_str(), record.ends_at.rfc3339());
                tracing::info!(
                    thing,
                    by,
                    until,
                    reason = record.reason,
                    "a token was issued"
                );
                return Ok(Issued {
                    thing_name: name.clone(),
                    token: token.reveal().to_owned(),
                    expires_at: record.ends_at,
                });
            }
        }
        Err(Failure::busy("the device is changing at this moment", 1).field("thingName"))
    }

    /// Enrols a device: its certificate, once it is in force. `deadline` is when
    /// this invocation is certain to have ended.
    ///
    /// # Errors
    /// `Denied`, and the same, whatever is wrong with the token; `Conflict` when
    /// the key is in use; `Busy` while the certificate is being made.
    pub async fn enrol(
        &self,
        request: &EnrolRequest,
        deadline: Moment,
    ) -> Result<Enrolled, Failure> {
        let rotation = self.admit(request, deadline).await?;
        let name = &request.thing_name;
        let id = self
            .issued(name, &rotation, request.csr.public_key(), deadline)
            .await?;
        let record: Option<CertificateRecord> =
            self.table.get(&Key::certificate(name, &id)).await?;
        let record = record.ok_or_else(|| Failure::bug(format!("{name} has no record of {id}")))?;
        Ok(Enrolled {
            thing_name: name.clone(),
            rotation_id: rotation,
            certificate_id: id,
            issuer_pem: self.issuer_pem(&record).await?,
            certificate_pem: record.certificate_pem,
            server_ca_pem: self.server_ca_pem.clone(),
            endpoint: self.endpoint.clone(),
        })
    }

    /// Uses the token, or finds it used with the same key; answers the rotation
    /// that brings the certificate.
    async fn admit(
        &self,
        request: &EnrolRequest,
        deadline: Moment,
    ) -> Result<OperationId, Failure> {
        let (name, key) = (&request.thing_name, request.csr.public_key());
        for _ in 0..ATTEMPTS {
            let record: Option<TokenRecord> = self.table.get(&Key::enrolment(name)).await?;
            let now = clock::now();
            if let Admission::Again(id) = domain::admit(record.as_ref(), &request.token, key, now)?
            {
                return Ok(id);
            }
            let record = record.ok_or_else(|| domain::refused("the token has gone"))?;
            let (device_key, rotation_key) = (Key::device(name), Key::rotation(name));
            let (device, rotation): (Option<DeviceRecord>, Option<Rotation>) =
                try_join!(self.table.get(&device_key), self.table.get(&rotation_key))?;
            let device = domain::enrollable(device.as_ref(), &record)?;
            let open = rotation.as_ref().filter(|row| !row.phase.ended());
            let next = match open.map(|row| (row, row.enrol(&request.csr, now))) {
                Some((row, Entry::After(ending))) => {
                    self.end(row, *ending, deadline).await?;
                    continue;
                }
                Some((_, Entry::Through(next))) => *next,
                None => self.begin(request, device, rotation.as_ref(), now).await?,
            };
            if self
                .admitted(&record, device, rotation.as_ref(), &next)
                .await?
            {
                return Ok(next.rotation_id);
            }
        }
        Err(Failure::busy("the device is changing at this moment", 1))
    }

    /// A rotation for a device that has none open.
    async fn begin(
        &self,
        request: &EnrolRequest,
        device: &DeviceRecord,
        earlier: Option<&Rotation>,
        now: Moment,
    ) -> Result<Rotation, Failure> {
        let name = &request.thing_name;
        let old = device.proved_certificate()?.clone();
        let certificate: Option<CertificateRecord> =
            self.table.get(&Key::certificate(name, &old)).await?;
        let certificate =
            certificate.ok_or_else(|| Failure::bug(format!("{name} has no record of {old}")))?;
        let id = clock::operation_id();
        let rotation = Rotation::start(id, name.clone(), &certificate, self.windows, earlier, now)?;
        Ok(rotation.enrolling(request.csr.clone(), earlier))
    }

    /// Brings a rotation that takes no more keys to its end.
    async fn end(&self, row: &Rotation, ending: Rotation, deadline: Moment) -> Result<(), Failure> {
        let (name, id) = (&row.thing_name, &row.rotation_id);
        let Some(version) = self.hasten(row, ending).await? else {
            return Ok(());
        };
        // Its own execution may be asleep for days.
        let execution = [format!("{id}-{version}")];
        workflows::start(&self.sfn, &self.workflow_arn, execution, &input(row)).await?;
        loop {
            let now: Option<Rotation> = self.table.get(&Key::rotation(name)).await?;
            if now.is_none_or(|now| now.rotation_id != *id || now.phase.ended()) {
                return Ok(());
            }
            pause(deadline, "the device's last rotation is being ended").await?;
        }
    }

    /// Waits until the certificate for a key is in force.
    async fn issued(
        &self,
        name: &ThingName,
        rotation: &OperationId,
        key: &PublicKeyId,
        deadline: Moment,
    ) -> Result<CertificateId, Failure> {
        let mut driven = false;
        loop {
            let row: Option<Rotation> = self.table.get(&Key::rotation(name)).await?;
            let row = row.ok_or_else(|| domain::refused("the device's rotation is gone"))?;
            match row.standing(rotation, key) {
                Standing::Issued(id) => return Ok(id.clone()),
                Standing::Over => {
                    return Err(domain::refused("the enrolment's rotation came to nothing"));
                }
                Standing::Making if !driven => self.drive(&row).await?,
                Standing::Making => {}
            }
            driven = true;
            pause(deadline, "the certificate is being made").await?;
        }
    }

    /// Sees to it that the workflow runs and does not wait for the device.
    async fn drive(&self, row: &Rotation) -> Result<(), Failure> {
        let Rotation {
            rotation_id: id,
            attempt,
            ..
        } = row;
        let names = [id.to_string(), format!("{id}-{attempt}")];
        workflows::start(&self.sfn, &self.workflow_arn, names, &input(row)).await?;
        match &row.task_token {
            Some(token) => workflows::wake(&self.sfn, token).await,
            None => Ok(()),
        }
    }

    /// The certificate of our own authority, if that signed.
    async fn issuer_pem(&self, record: &CertificateRecord) -> Result<Option<String>, Failure> {
        if record.issuer == Issuer::AwsIot {
            return Ok(None);
        }
        let id = authority::signer_of(&record.certificate_pem)
            .ok_or_else(|| Failure::bug("a certificate does not name the authority it is of"))?;
        let found: Option<authority::Authority> = self.table.get(&Key::authority(&id)).await?;
        let found = found.ok_or_else(|| Failure::bug(format!("there is no authority {id}")))?;
        Ok(Some(found.certificate_pem))
    }
}

fn input(row: &Rotation) -> String {
    json!({ "rotationId": row.rotation_id, "thingName": row.thing_name }).to_string()
}

/// Waits for others, while there is time.
async fn pause(deadline: Moment, what: &str) -> Result<(), Failure> {
    if clock::now().until(deadline) < LOOK_MILLIS {
        return Err(Failure::busy(what, 2));
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
