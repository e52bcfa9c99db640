//! What AWS IoT says of something by its name; nothing where it has nothing.

use aws_sdk_iot::Client;
use aws_sdk_iot::operation::describe_billing_group::DescribeBillingGroupOutput;
use aws_sdk_iot::operation::describe_thing_group::DescribeThingGroupOutput;
use aws_sdk_iot::operation::describe_thing_type::DescribeThingTypeOutput;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;
use lamplighter_domain::names::{BillingGroupName, GroupName, ThingTypeName};

use crate::failure::{self, Cause};

pub(crate) async fn thing_type(
    iot: &Client,
    name: &ThingTypeName,
) -> Result<Option<DescribeThingTypeOutput>, Failure> {
    let request = iot.describe_thing_type().thing_type_name(name.as_str());
    found("iot:DescribeThingType", request.send().await)
}

pub(crate) async fn group(
    iot: &Client,
    name: &GroupName,
) -> Result<Option<DescribeThingGroupOutput>, Failure> {
    let request = iot.describe_thing_group().thing_group_name(name.as_str());
    found("iot:DescribeThingGroup", request.send().await)
}

pub(crate) async fn billing_group(
    iot: &Client,
    name: &BillingGroupName,
) -> Result<Option<DescribeBillingGroupOutput>, Failure> {
    let request = iot
        .describe_billing_group()
        .billing_group_name(name.as_str());
    found("iot:DescribeBillingGroup", request.send().await)
}

/// An answer, or nothing where AWS says that there is nothing.
pub(crate) fn found<T, E>(
    api: &str,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Option<T>, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if failure::cause(&error) == Cause::NotFound => Ok(None),
        Err(error) => Err(failure::of(api, &error)),
    }
}
