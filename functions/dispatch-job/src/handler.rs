//! From the API's requests, the workflow's steps and the queue's messages to
//! jobs, and back.

use lambda_runtime::LambdaEvent;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::jobs::Jobs;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::fields::{self, Fields};
use lamplighter_domain::rollout::order::Request;
use lamplighter_domain::rollout::{Command, RolloutId};
use lamplighter_domain::time::Moment;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(jobs: &Jobs, event: LambdaEvent<Value>) -> Result<Value, Reported> {
    let deadline = Moment(event.context.deadline);
    let payload = event.payload;
    if http::is_request(&payload) {
        return Ok(json!(match over_http(jobs, payload).await {
            Ok(answer) => answer,
            Err(failure) => http::problem(&failure, None),
        }));
    }
    let answer = async {
        if payload.get("Records").is_some() {
            return Ok(json!(jobs.receive(read(payload)?).await));
        }
        Ok::<_, Failure>(json!(jobs.step(&read(payload)?, deadline).await?))
    };
    Ok(answer.await.inspect_err(telemetry::failed)?)
}

async fn over_http(jobs: &Jobs, event: Value) -> Result<http::Response, Failure> {
    let request = http::request(event)?;
    let route = request.route_key.as_deref().unwrap_or_default();
    if route == "POST /jobs" {
        let key = http::header(&request, "idempotency-key");
        let asked = Request::parse(&http::body(&request)?, key.as_deref())?;
        if asked.dry_run {
            return Ok(http::answer(200, &jobs.forecast(asked).await?));
        }
        let job = jobs.start(&http::caller(&request)?, asked).await?;
        return Ok(http::answer(202, &job));
    }
    let by = http::caller(&request)?;
    let id = RolloutId::parse(http::path(&request, "jobId"))?;
    let mut fields = body(&http::body(&request)?)?;
    let command = match route {
        "POST /jobs/{jobId}/approve" => Command::Approve(wave(&mut fields)?),
        "POST /jobs/{jobId}/pause" => Command::Pause,
        "POST /jobs/{jobId}/resume" => Command::Resume,
        "POST /jobs/{jobId}/cancel" => Command::Stop {
            running: fields.flag("running")?,
        },
        "POST /jobs/{jobId}/retry" => Command::Retry,
        route => return Err(Failure::bug(format!("no route {route:?} leads here"))),
    };
    fields.end()?;
    Ok(http::answer(200, &jobs.obey(&id, command, &by).await?))
}

fn body(body: &[u8]) -> Result<Fields, Failure> {
    let remedy = "Send {\"wave\": 2} to approve, {\"running\"?: true} to cancel, or nothing.";
    Fields::parse(if body.is_empty() { b"{}" } else { body }, remedy)
}

fn wave(fields: &mut Fields) -> Result<u32, Failure> {
    let wave = fields.number("wave")?.and_then(|n| u32::try_from(n).ok());
    wave.ok_or_else(|| {
        Failure::invalid(
            "wave",
            "it is not said which wave is approved",
            "Send {\"wave\": 2}, so that no other is approved by mistake.",
        )
    })
}

fn read<T: DeserializeOwned>(event: Value) -> Result<T, Failure> {
    let remedy = "Send what the queue and the workflow of the template send.";
    fields::event(event, "none of a job", remedy)
}
