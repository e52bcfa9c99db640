//! From reports, operators and the workflow to cases, and back.

use lamplighter_aws::compromise::Cases;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{CaseView, Report};
use lamplighter_domain::names::{CaseId, ThingName};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(cases: &Cases, event: Value) -> Result<Value, Reported> {
    if http::is_request(&event) {
        return Ok(json!(match over_http(cases, event).await {
            Ok(answer) => answer,
            Err(failure) => http::problem(&failure, None),
        }));
    }
    let answer = async { Ok(json!(cases.step(&read(event)?).await?)) }.await;
    Ok(answer.inspect_err(telemetry::failed)?)
}

async fn over_http(cases: &Cases, event: Value) -> Result<http::Response, Failure> {
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
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}

fn read<T: DeserializeOwned>(event: Value) -> Result<T, Failure> {
    serde_json::from_value(event).map_err(|error| {
        Failure::invalid(
            "event",
            format!("the event is none of a case: {error}"),
            "Send {\"caseId\": …}, as the workflow does.",
        )
    })
}
