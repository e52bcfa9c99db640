//! From a request with names to their announcement, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::http;
use lamplighter_aws::preregister::preregister;
use lamplighter_aws::table::Table;
use lamplighter_domain::Kind;
use lamplighter_domain::preregistration::PreregisterRequest;
use lamplighter_domain::time::Moment;

/// Answers one request.
pub(crate) async fn handle(
    table: &Table,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let splitting = async {
        let request = PreregisterRequest::parse(&http::body(&event.payload)?)?;
        preregister(table, &request).await
    };
    Ok(
        match http::in_time(deadline, Kind::Unknown, splitting).await {
            Ok(split) => http::answer(200, &split),
            Err(failure) => http::problem(&failure, None),
        },
    )
}
