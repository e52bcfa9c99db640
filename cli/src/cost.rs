//! `lamp cost`: what each billing group costs in a month, by list prices.

use clap::Args;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What is assumed of the fleet.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many jobs a device executes in a month
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs_per_device: u64,

    /// After how many days a certificate is renewed
    #[arg(long, default_value_t = 243, value_name = "DAYS")]
    renewal_days: u64,
}

pub(crate) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = Call::get(&["cost"])
        .query("by", "billingGroup")
        .query("jobsPerDevice", &arguments.jobs_per_device.to_string())
        .query("renewalDays", &arguments.renewal_days.to_string());
    let report = api.send(call).await?.body;
    if format.is_json() {
        output::document(&report);
    } else {
        show(&report);
    }
    Ok(Exit::Done)
}

fn show(report: &Value) {
    let headings = [
        "billing group",
        "devices",
        "renewals",
        "jobs",
        "USD a month",
    ];
    let mut table = output::table(&headings);
    for item in report["items"].as_array().into_iter().flatten() {
        let line = |at: usize| number(&item["lines"][at]["quantity"], 1);
        table.add_row([
            item["billingGroup"].as_str().unwrap_or("(none)").to_owned(),
            output::plain(&item["devices"]),
            line(0),
            line(1),
            number(&item["usd"], 4),
        ]);
    }
    output::line(&table.to_string());
    output::note(&format!(
        "{} USD a month in all. Assumed:",
        number(&report["usd"], 4)
    ));
    for assumption in report["assumptions"].as_array().into_iter().flatten() {
        output::note(&format!("  {}", output::plain(assumption)));
    }
}

fn number(value: &Value, decimals: usize) -> String {
    format!("{:.decimals$}", value.as_f64().unwrap_or_default())
}
