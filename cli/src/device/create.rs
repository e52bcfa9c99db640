//! `lamp device create`: by names, or by the rows of a file.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use lamplighter_domain::device::Issuer;
use serde_json::{Value, json};

use super::{pair, pairs, rows, thing_name};
use crate::api::{Api, Call};
use crate::bulk::{self, CONCURRENCY, Outcome};
use crate::failure::{Exit, Failure};
use crate::fleet_csv::{Custody, Row};
use crate::keys::{KeysArgument, KeysDir};
use crate::output::{self, Format};
use crate::progress;

/// Which devices, and as what.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["names", "from"])))]
pub(crate) struct Arguments {
    /// The devices' thing names
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// A CSV file with a device a row: thingName, thingType, groups
    /// (separated by `;`), billingGroup, custody, issuer, attributes.NAME
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The thing type, where the file does not say
    #[arg(long)]
    thing_type: Option<String>,

    /// A static group to join, where the file does not say; repeatable
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,

    /// The billing group, where the file does not say
    #[arg(long)]
    billing_group: Option<String>,

    /// An attribute, where the file does not say; repeatable
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,

    /// Where the private key lives, where the file does not say
    #[arg(long, value_enum, default_value_t = Custody::Device)]
    custody: Custody,

    /// What signs the certificate, aws-iot or kms-ca, where the file does not
    /// say; the stack's own choice where neither does
    #[arg(long, value_parser = issuer)]
    issuer: Option<Issuer>,

    /// A signing request (PEM) that the device itself made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "custody"])]
    csr: Option<PathBuf>,

    #[command(flatten)]
    keys: KeysArgument,

    /// How many devices are created at a time
    #[arg(long, default_value_t = CONCURRENCY, value_name = "N")]
    concurrency: usize,
}

impl Arguments {
    /// What is asked for: the file's rows, or a row for each name; the command
    /// line fills what a row leaves open.
    fn rows(&self) -> Result<Vec<Row>, Failure> {
        let mut rows = match &self.from {
            Some(file) => rows(file)?,
            None => self
                .names
                .iter()
                .map(|name| Row {
                    thing_name: name.clone(),
                    ..Row::default()
                })
                .collect(),
        };
        for row in &mut rows {
            row.thing_type = row.thing_type.take().or_else(|| self.thing_type.clone());
            row.billing_group = row
                .billing_group
                .take()
                .or_else(|| self.billing_group.clone());
            row.custody = row.custody.or(Some(self.custody));
            row.issuer = row.issuer.or(self.issuer);
            if row.groups.is_empty() {
                row.groups.clone_from(&self.groups);
            }
            for (name, value) in pairs(&self.attributes) {
                row.attributes.entry(name).or_insert(value);
            }
        }
        Ok(rows)
    }

    fn given_csr(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.csr else {
            return Ok(None);
        };
        if self.names.len() != 1 {
            return Err(Failure::usage(
                "--csr is for one device",
                "Name one device.",
            ));
        }
        std::fs::read_to_string(file)
            .map(Some)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), ""))
    }
}

pub(super) async fn run(
    arguments: &Arguments,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let rows = arguments.rows()?;
    let csr = arguments.given_csr()?;
    let keys = arguments.keys.open()?;
    let api = connect().await?;
    let started = Instant::now();
    let bar = progress::bar("creating", rows.len());
    let items = rows
        .into_iter()
        .map(|row| (row.thing_name.clone(), row))
        .collect();
    let outcomes = bulk::each(
        items,
        arguments.concurrency,
        format,
        &bar,
        async |_, row| Ok((Exit::Done, create(&api, &keys, &row, csr.clone()).await?)),
    )
    .await;
    if !format.is_json() {
        show(&outcomes);
        let done = outcomes
            .iter()
            .filter(|outcome| outcome.result.is_ok())
            .count();
        let seconds = started.elapsed().as_secs_f64();
        output::note(&format!(
            "{done} of {} devices are there, after {seconds:.1} s",
            outcomes.len()
        ));
    }
    Ok(bulk::conclude(&outcomes))
}

async fn create(
    api: &Api,
    keys: &KeysDir,
    row: &Row,
    given_csr: Option<String>,
) -> Result<Value, Failure> {
    let name = thing_name(&row.thing_name)?;
    let made_here = given_csr.is_none() && row.custody == Some(Custody::Device);
    let csr = if made_here {
        Some(keys.request(&name)?)
    } else {
        given_csr
    };
    let mut answer = api
        .send(Call::post(&["devices"]).body(request(row, csr.as_deref())))
        .await?;
    answer.body["created"] = Value::from(answer.status == 201);
    if let Some(certificate) = answer.body["certificatePem"].as_str() {
        let path = keys.keep_certificate(&name, certificate)?;
        answer.body["certificatePath"] = Value::from(path.to_string_lossy());
    }
    if made_here {
        answer.body["keyPath"] = Value::from(keys.key_path(&name).to_string_lossy());
    }
    Ok(answer.body)
}

/// The request's body: what is not asked for is not there.
fn request(row: &Row, csr: Option<&str>) -> Value {
    let mut body = json!({
        "thingName": row.thing_name,
        "attributes": row.attributes,
        "groups": row.groups,
    });
    let optional = [
        ("thingType", row.thing_type.as_deref()),
        ("billingGroup", row.billing_group.as_deref()),
        ("csr", csr),
        ("issuer", row.issuer.map(Issuer::name)),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            body[field] = Value::from(value);
        }
    }
    body
}

fn issuer(text: &str) -> Result<Issuer, String> {
    Issuer::parse(text).map_err(|failure| format!("{}; {}", failure.reason, failure.remedy))
}

fn show(outcomes: &[Outcome]) {
    let heading = |done, failed| bulk::heading(outcomes, done, failed);
    let certificate = heading("certificate", "field");
    let key = heading("private key", "why not");
    let mut table = output::table(&["device", "", &certificate, &key]);
    for outcome in outcomes {
        let row = match &outcome.result {
            Ok((_, device)) => [
                outcome.name.as_str().into(),
                if device["created"] == true {
                    output::good("created")
                } else {
                    "was there".into()
                },
                output::short(&output::plain(&device["certificateId"])).into(),
                match (&device["keyPath"], device["custody"].as_str()) {
                    (Value::String(path), _) => path.into(),
                    (_, Some("vault")) => "in the vault".into(),
                    _ => "on the device".into(),
                },
            ],
            Err(failure) => [
                outcome.name.as_str().into(),
                output::bad(failure.code),
                failure.field.clone().unwrap_or_default().into(),
                failure.reason.as_str().into(),
            ],
        };
        table.add_row(row);
    }
    output::line(&table.to_string());
}
