//! From reports, audits, operators and the workflow to cases and stops, and back.

use lamplighter_aws::compromise::Cases;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::stops::Stops;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{CaseView, Report};
use lamplighter_domain::names::{CaseId, PolicyName, ThingName};
use lamplighter_domain::stop::Asked;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(cases: &Cases, stops: &Stops, event: Value) -> Result<Value, Reported> {
    if http::is_request(&event) {
        return Ok(json!(match over_http(cases, stops, event).await {
            Ok(answer) => answer,
            Err(failure) => http::problem(&failure, None),
        }));
    }
    let answer = async {
        if event.get("Records").is_some() {
            cases.audited(&read(event)?).await?;
            return Ok(Value::Null);
        }
        Ok(json!(cases.step(&read(event)?).await?))
    };
    Ok(answer.await.inspect_err(telemetry::failed)?)
}

async fn over_http(cases: &Cases, stops: &Stops, event: Value) -> Result<http::Response, Failure> {
    let request = http::request(event)?;
    let by = http::caller(&request)?;
    match request.route_key.as_deref().unwrap_or_default() {
        "POST /devices/{thingName}/certificate/compromise" => {
            let name = ThingName::parse(http::path(&request, "thingName"))?;
            let report = Report::parse(&http::body(&request)?)?;
            let case = cases.report(&name, &report, &by).await?;
            Ok(http::answer(202, &CaseView::new(&case)))
        }
        "POST /cases/{caseId}/closing" => {
            let id = CaseId::parse(http::path(&request, "caseId"))?;
            Ok(http::answer(
                200,
                &CaseView::new(&cases.close(&id, &by).await?),
            ))
        }
        "POST /policies/{policyName}/stop" => {
            let asked = Asked::parse(&http::body(&request)?)?;
            let stopped = stops.stop(&policy(&request)?, &asked, &by).await?;
            Ok(http::answer(200, &stopped))
        }
        "POST /policies/{policyName}/resume" => {
            Ok(http::answer(200, &stops.resume(&policy(&request)?).await?))
        }
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}

fn policy(request: &http::Request) -> Result<PolicyName, Failure> {
    PolicyName::parse(http::path(request, "policyName"))
        .map_err(|failure| failure.field("policyName"))
}

fn read<T: DeserializeOwned>(event: Value) -> Result<T, Failure> {
    serde_json::from_value(event).map_err(|error| {
        Failure::invalid(
            "event",
            format!("the event is none of a case: {error}"),
            "Send {\"caseId\": …}, as the workflow does, or a notification of SNS.",
        )
    })
}
