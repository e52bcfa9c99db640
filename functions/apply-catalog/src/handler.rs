//! From a request with a catalog to its application, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::catalog::{Applied, Catalogs};
use lamplighter_aws::http;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Catalog, is_dry_run};
use lamplighter_domain::names::GroupName;

/// Answers one request.
pub(crate) async fn handle(
    catalogs: &Catalogs,
    default_group: &GroupName,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let applied: Result<(Applied, bool), Failure> = async {
        let request = event.payload;
        let dry_run = is_dry_run(request.raw_query_string.as_deref().unwrap_or_default())?;
        let catalog = Catalog::parse(&http::body(&request)?, default_group)?;
        let applied = if dry_run {
            catalogs.plan(&catalog).await?
        } else {
            catalogs.apply(&catalog).await?
        };
        Ok((applied, dry_run))
    }
    .await;
    Ok(match applied {
        Ok((applied, dry_run)) => match applied.refusal() {
            Some(failure) if !dry_run => http::problem_with(&failure, &applied),
            _ => http::answer(200, &applied),
        },
        Err(failure) => http::problem(&failure, None),
    })
}
