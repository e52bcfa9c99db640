//! Who uses what: things by type, group and billing group, and what bears a
//! policy. Lists are read page by page, as far as is asked for.

use lamplighter_domain::Failure;
use lamplighter_domain::catalog::Users;
use lamplighter_domain::names::{BillingGroupName, GroupName, PolicyName, ThingTypeName};

use super::Organisation;
use crate::describe::found;
use crate::failure::{self, Cause};

/// AWS's most for a page of things.
const PAGE: i32 = 250;
/// Users are counted up to this many; beyond, it is said that there are more.
const MOST_COUNTED: usize = 1000;

/// Some names, and where the list goes on.
#[derive(Debug, Default)]
pub struct Page {
    /// The names.
    pub names: Vec<String>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

impl Organisation {
    /// Things of a type.
    #[expect(
        clippy::disallowed_methods,
        reason = "whether a type may go is AWS's to say, and things of others count too"
    )]
    pub async fn things_of_type(
        &self,
        name: &ThingTypeName,
        token: Option<String>,
    ) -> Result<Page, Failure> {
        let request = self.iot.list_things().thing_type_name(name.as_str());
        let answer = request.max_results(PAGE).set_next_token(token).send().await;
        let answer = answer.map_err(|error| failure::of("iot:ListThings", &error))?;
        let things = answer.things.unwrap_or_default().into_iter();
        Ok(Page {
            names: things.filter_map(|thing| thing.thing_name).collect(),
            next: answer.next_token,
        })
    }

    /// Things directly in a group.
    pub async fn things_in_group(
        &self,
        name: &GroupName,
        token: Option<String>,
    ) -> Result<Page, Failure> {
        let request = self.iot.list_things_in_thing_group();
        let request = request.thing_group_name(name.as_str()).max_results(PAGE);
        let answer = request.set_next_token(token).send().await;
        let answer = found("iot:ListThingsInThingGroup", answer)?;
        Ok(answer.map_or_else(Page::default, |answer| Page {
            names: answer.things.unwrap_or_default(),
            next: answer.next_token,
        }))
    }

    /// Things in a billing group.
    pub async fn things_in_billing_group(
        &self,
        name: &BillingGroupName,
        token: Option<String>,
    ) -> Result<Page, Failure> {
        let request = self.iot.list_things_in_billing_group();
        let request = request.billing_group_name(name.as_str()).max_results(PAGE);
        let answer = request.set_next_token(token).send().await;
        let answer = found("iot:ListThingsInBillingGroup", answer)?;
        Ok(answer.map_or_else(Page::default, |answer| Page {
            names: answer.things.unwrap_or_default(),
            next: answer.next_token,
        }))
    }

    /// The groups right below a group.
    pub async fn children(&self, name: &GroupName) -> Result<Vec<String>, Failure> {
        let request = self.iot.list_thing_groups().parent_group(name.as_str());
        let mut pages = request.recursive(false).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if failure::cause(&error) == Cause::NotFound => break,
                page => page.map_err(|error| failure::of("iot:ListThingGroups", &error))?,
            };
            let groups = page.thing_groups.unwrap_or_default();
            names.extend(groups.into_iter().filter_map(|group| group.group_name));
        }
        Ok(names)
    }

    /// What bears a policy: `group NAME` or `certificate ID`.
    pub async fn bearers(&self, policy: &PolicyName) -> Result<Vec<String>, Failure> {
        let request = self.iot.list_targets_for_policy();
        let mut pages = request.policy_name(policy.as_str()).into_paginator().send();
        let mut bearers = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if failure::cause(&error) == Cause::NotFound => break,
                page => page.map_err(|error| failure::of("iot:ListTargetsForPolicy", &error))?,
            };
            let targets = page.targets.unwrap_or_default();
            bearers.extend(targets.iter().map(|arn| bearer(arn)));
        }
        Ok(bearers)
    }
}

fn bearer(arn: &str) -> String {
    let group = arn
        .split_once(":thinggroup/")
        .map(|(_, name)| ("group", name));
    let certificate = arn.split_once(":cert/").map(|(_, id)| ("certificate", id));
    let (kind, name) = group.or(certificate).unwrap_or(("target", arn));
    format!("{kind} {name}")
}

/// Counts users by their pages, up to some number.
pub(crate) async fn counted<F>(next: impl Fn(Option<String>) -> F) -> Result<Users, Failure>
where
    F: Future<Output = Result<Page, Failure>>,
{
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let page = next(token.take()).await?;
        names.extend(page.names);
        token = page.next;
        if token.is_none() || names.len() >= MOST_COUNTED {
            return Ok(Users::all(names, token.is_some()));
        }
    }
}
