//! From a request with a catalog to its application, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::catalog::{Applied, Catalogs, Status};
use lamplighter_aws::http;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Asked, Catalog};
use lamplighter_domain::names::GroupName;
use lamplighter_domain::time::Moment;

/// Answers one request.
pub(crate) async fn handle(
    catalogs: &Catalogs,
    default_group: &GroupName,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let applied: Result<(Applied, bool), Failure> = async {
        let request = event.payload;
        let asked = Asked::parse(request.raw_query_string.as_deref().unwrap_or_default())?;
        let catalog = Catalog::parse(&http::body(&request)?, default_group)?;
        let applied = if asked.dry_run {
            catalogs.plan(&catalog, asked).await?
        } else {
            catalogs.apply(&catalog, asked, deadline).await?
        };
        Ok((applied, asked.dry_run))
    }
    .await;
    Ok(match applied {
        Ok((applied, dry_run)) => match applied.refusal() {
            Some(failure) if !dry_run => http::problem_with(&failure, &applied),
            _ if applied.status == Status::Pending => http::answer(202, &applied),
            _ => http::answer(200, &applied),
        },
        Err(failure) => http::problem(&failure, None),
    })
}
