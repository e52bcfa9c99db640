//! From a reading request to the registry, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::table::Table;
use lamplighter_aws::{clock, costs, due, group_queries, http, job_views, query, sweep_rows};
use lamplighter_domain::cost::CostQuery;
use lamplighter_domain::due::query::DueQuery;
use lamplighter_domain::listing::ListQuery;
use lamplighter_domain::names::{CaseId, GroupName, OperationId, SweepId, ThingName};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::time::{Day, Moment};
use lamplighter_domain::{Failure, Kind};
use serde_json::{Value, json};

/// Answers one request.
pub(crate) async fn handle(
    table: &Table,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let read = read(table, &event.payload);
    Ok(match http::in_time(deadline, Kind::Busy, read).await {
        Ok(found) => http::answer(200, &found),
        Err(failure) => http::problem(&failure, None),
    })
}

async fn read(table: &Table, request: &http::Request) -> Result<Value, Failure> {
    match request.route_key.as_deref().unwrap_or_default() {
        "GET /devices" => {
            let wanted = ListQuery::parse(text(request))?;
            query::list(table, wanted).await
        }
        "GET /devices/{thingName}" => {
            query::device(table, &ThingName::parse(http::path(request, "thingName"))?).await
        }
        "GET /devices/{thingName}/groups" => {
            let name = ThingName::parse(http::path(request, "thingName"))?;
            group_queries::of_device(table, &name, text(request)).await
        }
        "GET /devices/{thingName}/jobs" => {
            let name = ThingName::parse(http::path(request, "thingName"))?;
            job_views::of_device(table, &name, text(request)).await
        }
        "GET /groups" => group_queries::list(table, text(request)).await,
        "GET /groups/{groupName}" => group_queries::group(table, &group(request)?).await,
        "GET /groups/{groupName}/members" => {
            group_queries::members(table, &group(request)?, text(request)).await
        }
        "GET /groups/{groupName}/changes" => {
            group_queries::changes(table, &group(request)?, text(request)).await
        }
        "GET /devices/{thingName}/document" => {
            let name = ThingName::parse(http::path(request, "thingName"))?;
            group_queries::document(table, &name).await
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
            let now = clock::now();
            let wanted = DueQuery::parse(text(request), Day::of(now))?;
            let pointer = sweep_rows::pointer(table).await?;
            let oldest = sweep_rows::oldest_day(pointer.as_ref(), now);
            due::list(table, wanted, oldest).await
        }
        "GET /sweeps/{sweepId}" => {
            let id = SweepId::parse(http::path(request, "sweepId"))?;
            sweep_rows::view(table, &id, clock::now()).await
        }
        "GET /jobs" => job_views::list(table, text(request), clock::now()).await,
        "GET /jobs/{jobId}" => {
            let id = RolloutId::parse(http::path(request, "jobId"))?;
            job_views::job(table, &id, clock::now()).await
        }
        "GET /cost" => Ok(json!(
            costs::report(table, CostQuery::parse(text(request))?).await?
        )),
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}

fn text(request: &http::Request) -> &str {
    request.raw_query_string.as_deref().unwrap_or_default()
}

fn group(request: &http::Request) -> Result<GroupName, Failure> {
    let name = GroupName::parse(http::path(request, "groupName"));
    name.map_err(|failure| failure.field("groupName"))
}
