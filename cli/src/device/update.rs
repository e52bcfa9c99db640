//! `lamp device update`: by names, or by the rows of a file.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{pair, pairs, rows, thing_name};
use crate::api::{Api, Call};
use crate::bulk::{self, CONCURRENCY, Outcome};
use crate::failure::{Exit, Failure};
use crate::fleet_csv::Row;
use crate::output::{self, Format};
use crate::progress;

/// Which devices, and what of them changes.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["names", "from"])))]
pub(crate) struct Arguments {
    /// The devices' thing names
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// A CSV file with a device a row, columns as for `device create`; an empty
    /// cell changes nothing, and `groups` are all groups that the device is to be in
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// An attribute to set; repeatable
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,

    /// An attribute to remove; repeatable
    #[arg(long = "remove-attribute", value_name = "NAME")]
    remove_attributes: Vec<String>,

    /// A static group to join; repeatable
    #[arg(long = "join", value_name = "GROUP")]
    join: Vec<String>,

    /// A static group to leave; repeatable
    #[arg(long = "leave", value_name = "GROUP")]
    leave: Vec<String>,

    /// The billing group to be in
    #[arg(long, value_name = "NAME", conflicts_with = "no_billing_group")]
    billing_group: Option<String>,

    /// Leave the billing group
    #[arg(long)]
    no_billing_group: bool,

    /// The thing type to have, as the catalog declares it
    #[arg(long, value_name = "NAME")]
    thing_type: Option<String>,

    /// Update the device only if it has this version
    #[arg(long = "if-version", value_name = "N", conflicts_with = "from")]
    version: Option<u64>,

    /// How many devices are updated at a time
    #[arg(long, default_value_t = CONCURRENCY, value_name = "N")]
    concurrency: usize,
}

impl Arguments {
    fn rows(&self) -> Result<Vec<Row>, Failure> {
        if let Some(file) = &self.from {
            return rows(file);
        }
        let named = |name: &String| Row {
            thing_name: name.clone(),
            ..Row::default()
        };
        Ok(self.names.iter().map(named).collect())
    }

    /// The body for one device: what its row says, and then the command line.
    fn body(&self, row: &Row) -> Result<Value, Failure> {
        if row.custody.is_some() || row.issuer.is_some() {
            return Err(Failure::refused(
                "custody",
                "who holds a device's key and who signs its certificate cannot be updated",
                "Remove the columns custody and issuer.",
            ));
        }
        let mut attributes: Map<String, Value> = row
            .attributes
            .clone()
            .into_iter()
            .chain(pairs(&self.attributes))
            .map(|(name, value)| (name, value.into()))
            .collect();
        for name in &self.remove_attributes {
            attributes.insert(name.clone(), Value::Null);
        }
        let mut body = json!({});
        let mut set = |field: &str, value: Value, given: bool| {
            if given {
                body[field] = value;
            }
        };
        let given = !attributes.is_empty();
        set("attributes", attributes.into(), given);
        set("groups", json!(row.groups), !row.groups.is_empty());
        set("joinGroups", json!(self.join), !self.join.is_empty());
        set("leaveGroups", json!(self.leave), !self.leave.is_empty());
        let billing_group = self.billing_group.as_ref().or(row.billing_group.as_ref());
        let given = billing_group.is_some() || self.no_billing_group;
        set("billingGroup", json!(billing_group), given);
        let thing_type = self.thing_type.as_ref().or(row.thing_type.as_ref());
        set("thingType", json!(thing_type), thing_type.is_some());
        set("version", json!(self.version), self.version.is_some());
        Ok(body)
    }
}

pub(super) async fn run(
    arguments: &Arguments,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let rows = arguments.rows()?;
    let api = connect().await?;
    let bar = progress::bar("updating", rows.len());
    let items = rows
        .into_iter()
        .map(|row| (row.thing_name.clone(), row))
        .collect();
    let outcomes = bulk::each(
        items,
        arguments.concurrency,
        format,
        &bar,
        async |name, row| {
            thing_name(name)?;
            let call = Call::patch(&["devices", name]).body(arguments.body(&row)?);
            Ok((Exit::Done, api.send(call).await?.body))
        },
    )
    .await;
    if !format.is_json() {
        show(&outcomes);
    }
    Ok(bulk::conclude(&outcomes))
}

fn show(outcomes: &[Outcome]) {
    let heading = |done, failed| bulk::heading(outcomes, done, failed);
    let (changed, version) = (heading("changed", "field"), heading("version", "why not"));
    let mut table = output::table(&["device", "", &changed, &version]);
    for outcome in outcomes {
        let row = match &outcome.result {
            Ok((_, device)) => {
                let changed = output::plain(&device["changed"]);
                let verb = if changed.is_empty() {
                    "as asked".into()
                } else {
                    output::good("updated")
                };
                let version = output::plain(&device["version"]);
                [
                    outcome.name.as_str().into(),
                    verb,
                    changed.into(),
                    version.into(),
                ]
            }
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
