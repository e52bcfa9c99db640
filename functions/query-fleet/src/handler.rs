//! From a reading request to the registry, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::table::Table;
use lamplighter_aws::{clock, costs, due, http, job_views, query, sweep_rows};
use lamplighter_domain::Failure;
use lamplighter_domain::cost::CostQuery;
use lamplighter_domain::due::query::DueQuery;
use lamplighter_domain::listing::ListQuery;
use lamplighter_domain::names::{CaseId, OperationId, SweepId, ThingName};
use lamplighter_domain::rollout::RolloutId;
use serde_json::{Value, json};

/// Answers one request.
pub(crate) async fn handle(
    table: &Table,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    Ok(match read(table, &event.payload).await {
        Ok(found) => http::answer(200, &found),
        Err(failure) => http::problem(&failure, None),
    })
}

async fn read(table: &Table, request: &http::Request) -> Result<Value, Failure> {
    match request.route_key.as_deref().unwrap_or_default() {
        "GET /devices" => {
            let wanted = ListQuery::parse(request.raw_query_string.as_deref().unwrap_or_default())?;
            query::list(table, wanted).await
        }
        "GET /devices/{thingName}" => {
            query::device(table, &ThingName::parse(http::path(request, "thingName"))?).await
        }
        "GET /operations/{operationId}" => {
            query::operation(
                table,
                &OperationId::parse(http::path(request, "operationId"))?,
            )
            .await
        }
        "GET /cases/{caseId}" => {
            query::case(table, &CaseId::parse(http::path(request, "caseId"))?).await
        }
        "GET /certificates" => {
            let wanted = DueQuery::parse(request.raw_query_string.as_deref().unwrap_or_default())?;
            let pointer = sweep_rows::pointer(table).await?;
            let oldest = sweep_rows::oldest_day(pointer.as_ref(), clock::now());
            due::list(table, wanted, oldest).await
        }
        "GET /sweeps/{sweepId}" => {
            let id = SweepId::parse(http::path(request, "sweepId"))?;
            sweep_rows::view(table, &id, clock::now()).await
        }
        "GET /jobs" => {
            let query = request.raw_query_string.as_deref().unwrap_or_default();
            job_views::list(table, query, clock::now()).await
        }
        "GET /jobs/{jobId}" => {
            let id = RolloutId::parse(http::path(request, "jobId"))?;
            job_views::job(table, &id, clock::now()).await
        }
        "GET /cost" => {
            let query = request.raw_query_string.as_deref().unwrap_or_default();
            Ok(json!(costs::report(table, CostQuery::parse(query)?).await?))
        }
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}
