//! From a batch of the queue to the devices' groups; what failed is reported
//! message by message.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::groups::Groups;
use lamplighter_aws::queue::{Batch, Failed};

/// Takes one batch in.
pub(crate) async fn handle(
    groups: &Groups,
    event: LambdaEvent<Batch>,
) -> Result<Failed, Infallible> {
    Ok(groups.batch(event.payload).await)
}
