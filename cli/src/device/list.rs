//! `lamp device list` and `show`: from the registry.

use clap::Args;
use serde_json::Value;

use super::pair;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The largest page asked for.
const PAGE: usize = 100;

/// Which devices.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only devices of this thing type
    #[arg(long)]
    thing_type: Option<String>,
    /// Only members of this static group
    #[arg(long)]
    group: Option<String>,
    /// Only devices with this attribute
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    attribute: Option<(String, String)>,
    /// Only devices with this status
    #[arg(long)]
    status: Option<String>,
    /// How many devices at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let attribute = arguments
        .attribute
        .as_ref()
        .map(|(name, value)| format!("{name}={value}"));
    let filters = [
        ("thingType", &arguments.thing_type),
        ("group", &arguments.group),
        ("attribute", &attribute),
        ("status", &arguments.status),
    ];
    let mut devices = Vec::new();
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut cursor = None::<String>;
    while left > 0 {
        let mut call = Call::get(&["devices"]).query("limit", &left.min(PAGE).to_string());
        for (name, value) in filters {
            call = value
                .iter()
                .fold(call, |call, value| call.query(name, value));
        }
        call = cursor
            .iter()
            .fold(call, |call, cursor| call.query("cursor", cursor));
        let page = api.send(call).await?.body;
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        // A filtered page may be short, or empty, and still not be the last.
        for device in items.iter().take(left) {
            if format.is_json() {
                output::document(device);
            } else {
                devices.push(device.clone());
            }
        }
        left -= items.len().min(left);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if !format.is_json() {
        show_all(&devices);
    }
    Ok(Exit::Done)
}

fn show_all(devices: &[Value]) {
    let mut table = output::table(&["device", "status", "type", "groups", "attributes", "key"]);
    for device in devices {
        let status = output::plain(&device["status"]);
        table.add_row([
            output::plain(&device["thingName"]).into(),
            if status == "ACTIVE" {
                output::good(status)
            } else {
                output::open(status)
            },
            output::plain(&device["thingType"]).into(),
            output::plain(&device["groups"]).into(),
            output::plain(&device["attributes"]).into(),
            output::plain(&device["custody"]).into(),
        ]);
    }
    output::line(&table.to_string());
    output::note(&format!("{} devices", devices.len()));
}

pub(super) async fn show(name: &str, api: &Api, format: Format) -> Result<Exit, Failure> {
    let device = api.send(Call::get(&["devices", name])).await?.body;
    if format.is_json() {
        output::document(&device);
        return Ok(Exit::Done);
    }
    let device = output::readable(&device);
    // First what identifies a device, then whatever else is recorded.
    let first = [
        "thingName",
        "status",
        "thingType",
        "attributes",
        "groups",
        "billingGroup",
    ];
    output::line(&output::facts_of(&device, &first).to_string());
    Ok(Exit::Done)
}
