//! Looks at what events carry no order for.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::membership::{Observation, Shadow, Thing, Wanted};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Groups;
use crate::describe::found;
use crate::telemetry;

/// How many shadows are looked at at once.
const AT_ONCE: usize = 8;
/// `ListNamedShadowsForThing` answers with at most this many names.
const PAGE: i32 = 100;

/// What `GetThingShadow` answers with.
#[derive(Deserialize)]
struct Got {
    version: u64,
    timestamp: u64,
    #[serde(default)]
    state: Map<String, Value>,
}

impl Groups {
    pub(super) async fn look(
        &self,
        name: &ThingName,
        wanted: Wanted,
    ) -> Result<Observation, Failure> {
        let thing = async {
            if wanted.thing {
                self.thing(name).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let groups = async {
            if wanted.groups {
                self.things.groups_of(name).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let shadows = async {
            if wanted.shadows {
                self.shadows(name).await
            } else {
                Ok(BTreeMap::new())
            }
        };
        let (thing, groups, shadows) = tokio::try_join!(thing, groups, shadows)?;
        Ok(Observation {
            thing,
            groups,
            shadows,
        })
    }

    async fn thing(&self, name: &ThingName) -> Result<Option<Thing>, Failure> {
        let request = self.things.iot.describe_thing();
        let answer = request.thing_name(name.as_str()).send().await;
        let Some(thing) = found("iot:DescribeThing", answer)? else {
            return Ok(None);
        };
        Ok(Some(Thing {
            id: thing.thing_id.unwrap_or_default(),
            version: u64::try_from(thing.version).unwrap_or_default(),
            type_name: thing.thing_type_name,
            billing_group: thing.billing_group_name,
            attributes: thing.attributes.unwrap_or_default().into_iter().collect(),
            gone: false,
        }))
    }

    /// All its shadows; the unnamed one has the empty name.
    async fn shadows(&self, name: &ThingName) -> Result<BTreeMap<String, Shadow>, Failure> {
        let mut names = vec![String::new()];
        let mut token = None;
        loop {
            let request = self.data.list_named_shadows_for_thing();
            let request = request.thing_name(name.as_str()).page_size(PAGE);
            let answer = request.set_next_token(token).send().await;
            let Some(page) = found("iot:ListNamedShadowsForThing", answer)? else {
                break;
            };
            names.extend(page.results.unwrap_or_default());
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        stream::iter(names.into_iter().map(|shadow| self.shadow(name, shadow)))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    /// A shadow, if there is one that can be read.
    async fn shadow(
        &self,
        name: &ThingName,
        shadow: String,
    ) -> Result<Option<(String, Shadow)>, Failure> {
        let request = self.data.get_thing_shadow().thing_name(name.as_str());
        let named = (!shadow.is_empty()).then(|| shadow.clone());
        let answer = request.set_shadow_name(named).send().await;
        let Some(answer) = found("iot:GetThingShadow", answer)? else {
            return Ok(None);
        };
        let payload = answer.payload.unwrap_or_default();
        let read = serde_json::from_slice::<Got>(payload.as_ref())
            .map_err(|error| error.to_string())
            .and_then(|got| {
                Ok(Shadow {
                    version: got.version,
                    at: Moment(got.timestamp.saturating_mul(1000)),
                    state: Some(Shadow::state_of(got.state)?),
                })
            });
        match read {
            Ok(found) => Ok(Some((shadow, found))),
            Err(why) => {
                telemetry::failed(&Failure::invalid(
                    "shadow",
                    format!("a shadow of {name} cannot be read: {why}"),
                    "Make it smaller.",
                ));
                Ok(None)
            }
        }
    }
}
