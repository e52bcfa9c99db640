//! AWS's own dynamic groups. They need fleet indexing, which is the account's
//! to turn on.

use aws_sdk_iot::types::ThingGroupProperties;
use lamplighter_domain::Failure;
use lamplighter_domain::names::GroupName;

use super::Organisation;
use crate::describe::found;
use crate::failure;

impl Organisation {
    /// Creates a dynamic group.
    pub async fn create_dynamic_group(
        &self,
        name: &GroupName,
        query: &str,
        description: &str,
    ) -> Result<(), Failure> {
        let request = self.iot.create_dynamic_thing_group();
        request
            .thing_group_name(name.as_str())
            .thing_group_properties(properties(description))
            .query_string(query)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreateDynamicThingGroup", &error))
    }

    /// Gives a dynamic group its query.
    pub async fn update_dynamic_group(
        &self,
        name: &GroupName,
        query: &str,
        description: &str,
    ) -> Result<(), Failure> {
        let request = self.iot.update_dynamic_thing_group();
        request
            .thing_group_name(name.as_str())
            .thing_group_properties(properties(description))
            .query_string(query)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:UpdateDynamicThingGroup", &error))
    }

    /// Deletes a dynamic group; none is success.
    pub async fn delete_dynamic_group(&self, name: &GroupName) -> Result<(), Failure> {
        let request = self.iot.delete_dynamic_thing_group();
        let answer = request.thing_group_name(name.as_str()).send().await;
        found("iot:DeleteDynamicThingGroup", answer).map(drop)
    }
}

fn properties(description: &str) -> ThingGroupProperties {
    ThingGroupProperties::builder()
        .thing_group_description(description)
        .build()
}
