//! From a request with a catalog, or with one dynamic group, to its application,
//! and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::catalog::{Applied, Catalogs, Status};
use lamplighter_aws::http;
use lamplighter_domain::building::{PutQuery, read_definition};
use lamplighter_domain::catalog::{Asked, Catalog, DefinitionStatus};
use lamplighter_domain::names::GroupName;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

/// Answers one request.
pub(crate) async fn handle(
    catalogs: &Catalogs,
    default_group: &GroupName,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let request = event.payload;
    let route = request.route_key.as_deref().unwrap_or_default();
    let answer = async {
        match route {
            "PUT /catalog" => apply(catalogs, default_group, &request, deadline).await,
            "PUT /groups/{groupName}" => put_group(catalogs, &request).await,
            "DELETE /groups/{groupName}" => remove_group(catalogs, &request).await,
            route => Err(Failure::bug(format!("no route {route:?} leads here"))),
        }
    };
    let answer = http::in_time(deadline, Kind::Unknown, answer).await;
    Ok(answer.unwrap_or_else(|failure| http::problem(&failure, None)))
}

async fn apply(
    catalogs: &Catalogs,
    default_group: &GroupName,
    request: &http::Request,
    deadline: Moment,
) -> Result<http::Response, Failure> {
    let asked = Asked::parse(text(request))?;
    let catalog = Catalog::parse(&http::body(request)?, default_group)?;
    let applied: Applied = if asked.dry_run {
        catalogs.plan(&catalog, asked).await?
    } else {
        catalogs.apply(&catalog, asked, deadline).await?
    };
    Ok(match applied.refusal() {
        Some(failure) if !asked.dry_run => http::problem_with(&failure, &applied),
        _ if applied.status == Status::Pending => http::answer(202, &applied),
        _ => http::answer(200, &applied),
    })
}

async fn put_group(
    catalogs: &Catalogs,
    request: &http::Request,
) -> Result<http::Response, Failure> {
    let asked = PutQuery::parse(text(request))?;
    let definition = read_definition(&group(request)?, &http::body(request)?)?;
    if asked.dry_run {
        let found = catalogs.try_group(&definition, asked.position).await?;
        return Ok(http::answer(200, &found));
    }
    let put = catalogs.put_group(definition).await?;
    let is_active = put.status == DefinitionStatus::Active;
    Ok(http::answer(if is_active { 200 } else { 202 }, &put))
}

async fn remove_group(
    catalogs: &Catalogs,
    request: &http::Request,
) -> Result<http::Response, Failure> {
    let removed = catalogs.remove_group(&group(request)?).await?;
    Ok(http::answer(200, &removed))
}

fn text(request: &http::Request) -> &str {
    request.raw_query_string.as_deref().unwrap_or_default()
}

fn group(request: &http::Request) -> Result<GroupName, Failure> {
    let name = GroupName::parse(http::path(request, "groupName"));
    name.map_err(|failure| failure.field("groupName"))
}
