//! Things as AWS has them now, and their shadows.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::names::{ThingName, ThingTypeName};
use lamplighter_domain::rollout::execution::Heard;
use lamplighter_domain::rollout::spec::Spec;
use lamplighter_domain::rollout::target::reported_firmware;
use serde_json::Value;

use super::Jobs;
use crate::describe::found;

/// How many calls are under way at once.
pub(super) const CALLS: usize = 16;

impl Jobs {
    /// Who of these is gone, or has become what the job is not for: it has no
    /// place among the targets any more.
    pub(super) async fn gone(
        &self,
        spec: &Spec,
        things: &[ThingName],
    ) -> Result<Vec<ThingName>, Failure> {
        let looks = things.iter().map(async |thing| {
            let answer = self.iot.describe_thing().thing_name(thing.as_str()).send();
            let seen = found("iot:DescribeThing", answer.await)?;
            let there = seen.is_some_and(|seen| {
                let name = seen.thing_type_name.as_deref();
                let name = name.and_then(|name| ThingTypeName::parse(name).ok());
                spec.admits(name.as_ref())
            });
            Ok::<_, Failure>((!there).then(|| thing.clone()))
        });
        let looks = stream::iter(looks).buffer_unordered(CALLS);
        let gone: Vec<_> = looks.try_collect().await?;
        Ok(gone.into_iter().flatten().collect())
    }

    /// The state document of a thing's classic shadow, if it has one.
    pub(super) async fn shadow(&self, thing: &ThingName) -> Result<Option<Value>, Failure> {
        let answer = self.data.get_thing_shadow().thing_name(thing.as_str());
        let seen = found("iot:GetThingShadow", answer.send().await)?;
        let payload = seen.and_then(|seen| seen.payload);
        payload
            .map(|payload| {
                serde_json::from_slice(payload.as_ref())
                    .map_err(|error| Failure::bug(format!("the shadow of {thing}: {error}")))
            })
            .transpose()
    }

    /// The shadows of many.
    pub(super) async fn shadows(
        &self,
        things: impl IntoIterator<Item = &ThingName>,
    ) -> Result<BTreeMap<ThingName, Value>, Failure> {
        let reads = things.into_iter().map(async |thing| {
            let shadow = self.shadow(thing).await?;
            Ok::<_, Failure>(shadow.map(|shadow| (thing.clone(), shadow)))
        });
        let reads = stream::iter(reads).buffer_unordered(CALLS);
        let shadows: Vec<_> = reads.try_collect().await?;
        Ok(shadows.into_iter().flatten().collect())
    }

    /// What the shadows of these say of the firmware.
    pub(super) async fn firmwares(
        &self,
        things: impl IntoIterator<Item = &ThingName>,
    ) -> Result<Vec<(ThingName, Heard)>, Failure> {
        let shadows = self.shadows(things).await?;
        let heard = shadows.into_iter().filter_map(|(thing, shadow)| {
            let firmware = reported_firmware(&shadow)?.to_owned();
            let version = shadow["version"].as_u64().unwrap_or_default();
            Some((thing, Heard::Firmware(firmware, version)))
        });
        Ok(heard.collect())
    }
}
