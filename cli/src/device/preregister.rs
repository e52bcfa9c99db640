//! `lamp device preregister`: names that devices may claim themselves.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::rows;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::progress;

/// How many names go into one request.
const BATCH: usize = 50;

/// Which names, under which profile.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["names", "from"])))]
pub(crate) struct Arguments {
    /// The profile of the catalog that says what a claim may create
    #[arg(long)]
    profile: String,

    /// The thing names
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// A CSV file with a column thingName
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

pub(super) async fn run(
    arguments: &Arguments,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let names = match &arguments.from {
        Some(file) => rows(file)?.into_iter().map(|row| row.thing_name).collect(),
        None => arguments.names.clone(),
    };
    let api = connect().await?;
    let bar = progress::bar("announcing", names.len());
    let mut all = json!({ "preregistered": [], "alreadyPreregistered": [] });
    for batch in names.chunks(BATCH) {
        let body = json!({ "profile": arguments.profile, "thingNames": batch });
        let mut answer = api
            .send(Call::post(&["preregistrations"]).body(body))
            .await?
            .body;
        for part in ["preregistered", "alreadyPreregistered"] {
            if let (Some(all), Value::Array(more)) = (all[part].as_array_mut(), answer[part].take())
            {
                all.extend(more);
            }
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    if format.is_json() {
        output::document(&all);
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["device", ""]);
    for (part, cell) in [
        ("preregistered", output::good("may be claimed now")),
        ("alreadyPreregistered", "could be already".into()),
    ] {
        for name in all[part].as_array().into_iter().flatten() {
            table.add_row([output::plain(name).into(), cell.clone()]);
        }
    }
    output::line(&table.to_string());
    Ok(Exit::Done)
}
