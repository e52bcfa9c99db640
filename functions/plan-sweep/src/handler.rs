//! From the API's requests and the workflow's steps to sweeps, and back.

use lamplighter_aws::failure::Reported;
use lamplighter_aws::sweeps::{Asked, Step, Sweeps};
use lamplighter_aws::{clock, http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::fields::{self, Fields};
use lamplighter_domain::names::SweepId;
use lamplighter_domain::request::one_key;
use lamplighter_domain::sweep::Command;
use lamplighter_domain::time::Day;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(sweeps: &Sweeps, event: Value) -> Result<Value, Reported> {
    if http::is_request(&event) {
        return Ok(json!(match over_http(sweeps, event).await {
            Ok(answer) => answer,
            Err(failure) => http::problem(&failure, None),
        }));
    }
    let answer = async { sweeps.step(&read(event)?).await }.await;
    Ok(json!(answer.inspect_err(telemetry::failed)?))
}

async fn over_http(sweeps: &Sweeps, event: Value) -> Result<http::Response, Failure> {
    let request = http::request(event)?;
    let route = request.route_key.as_deref().unwrap_or_default();
    if route == "POST /sweeps" {
        let sent = http::header(&request, "idempotency-key");
        let key =
            one_key(None, sent.as_deref())?.unwrap_or_else(|| clock::operation_id().to_string());
        let asked = asked(&http::body(&request)?)?;
        let sweep = sweeps.start(&http::caller(&request)?, &key, asked).await?;
        return Ok(http::answer(if asked.dry_run { 200 } else { 202 }, &sweep));
    }
    let command = match route {
        "POST /sweeps/{sweepId}/approval" => Command::Approve,
        "POST /sweeps/{sweepId}/pause" => Command::Pause,
        "POST /sweeps/{sweepId}/resume" => Command::Resume,
        "POST /sweeps/{sweepId}/abort" => Command::Abort,
        "POST /sweeps/{sweepId}/retry" => Command::Retry,
        route => return Err(Failure::bug(format!("no route {route:?} leads here"))),
    };
    let id = SweepId::parse(http::path(&request, "sweepId"))?;
    Ok(http::answer(200, &sweeps.obey(&id, command).await?))
}

fn asked(body: &[u8]) -> Result<Asked, Failure> {
    if body.is_empty() {
        return Ok(Asked::default());
    }
    let remedy = "Send {\"dryRun\"?: true, \"since\"?: \"2026-01-31\"}, or nothing.";
    let mut fields = Fields::parse(body, remedy)?;
    let dry_run = fields.flag("dryRun")?;
    let since = fields.text("since")?;
    fields.end()?;
    let no_day = || Failure::invalid("since", "since is no day", remedy);
    Ok(Asked {
        dry_run,
        since: since
            .map(|day| Day::parse(&day).ok_or_else(no_day))
            .transpose()?,
    })
}

fn read(event: Value) -> Result<Step, Failure> {
    let remedy = "Send {\"execution\": …, \"input\"?: …, \"after\"?: …, \"failed\"?: …}.";
    fields::event(event, "no step of a sweep", remedy)
}
