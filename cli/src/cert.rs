//! `lamp cert`: certificates by the day on which they are due, and what is
//! reported of them.

use clap::{Args, Subcommand};
use lamplighter_domain::time::{Day, Moment};
use serde_json::Value;

use crate::api::{Api, Call};
use crate::case;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The largest page asked for.
const PAGE: usize = 100;

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List certificates that are due for renewal, the oldest day first
    Due(DueArguments),
    /// Report that somebody else has, or may have, a device's key
    Compromised(case::Report),
}

/// Which certificates.
#[derive(Debug, Args)]
pub(crate) struct DueArguments {
    /// Also what will be due within so many days from today, a year's at most
    #[arg(long, value_name = "DAYS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=366))]
    within: u64,
    /// How many certificates at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(crate) async fn run(
    command: &Command,
    api: &Api,
    format: Format,
    now: Moment,
) -> Result<Exit, Failure> {
    match command {
        Command::Due(arguments) => due(arguments, api, format, now).await,
        Command::Compromised(report) => case::report(report, api, format).await,
    }
}

async fn due(
    arguments: &DueArguments,
    api: &Api,
    format: Format,
    now: Moment,
) -> Result<Exit, Failure> {
    let days = format!("..{}", Day::of(now).plus(arguments.within));
    let mut rows = Vec::new();
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut cursor = None::<String>;
    while left > 0 {
        let mut call = Call::get(&["certificates"])
            .query("due", &days)
            .query("limit", &left.min(PAGE).to_string());
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page = api.send(call).await?.body;
        // A page may be short, or empty, and still not be the last.
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        for row in items.iter().take(left) {
            if format.is_json() {
                output::document(row);
            } else {
                rows.push(row.clone());
            }
        }
        left -= items.len().min(left);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if !format.is_json() {
        show_all(&rows, now);
    }
    Ok(Exit::Done)
}

fn show_all(rows: &[Value], now: Moment) {
    let mut table = output::table(&["device", "certificate", "issuer", "due", "ends"]);
    let mut overdue = 0;
    for row in rows {
        let late = row["dueAt"].as_u64().is_some_and(|due| due <= now.0);
        overdue += usize::from(late);
        let row = output::readable(row);
        let due = output::plain(&row["dueAt"]);
        table.add_row([
            output::plain(&row["thingName"]).into(),
            output::short(&output::plain(&row["certificateId"])).into(),
            output::plain(&row["issuer"]).into(),
            if late {
                output::open(due)
            } else {
                output::good(due)
            },
            output::plain(&row["notAfter"]).into(),
        ]);
    }
    output::line(&table.to_string());
    output::note(&format!("{} certificates, {overdue} due now", rows.len()));
}
