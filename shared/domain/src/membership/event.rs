//! What AWS IoT says of a device, as topic rules put it into the queue.
//!
//! A message is what AWS published and the topic it was published on ("Registry
//! events", "Lifecycle events" and "Device Shadow MQTT topics", AWS IoT Core
//! Developer Guide). Nobody but AWS can publish on these topics. The others are
//! our own events of the bus, as `EventBridge` puts them there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::document::Shadow;
pub use super::presence::{Happened, Lifecycle};
use crate::announcement::SOURCE;
use crate::failure::Failure;
use crate::names::ThingName;
use crate::pieces::member;
use crate::quote::quoted;
use crate::time::Moment;

/// A shadow's state has at most this many bytes here. AWS allows 8 KB, and 30
/// on request ("AWS IoT Core endpoints and quotas").
const MOST_STATE_BYTES: usize = 32 * 1024;

/// What happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its thing was created, changed or deleted.
    Thing(ThingEvent),
    /// A shadow of it was changed or deleted.
    Shadow(ShadowEvent),
    /// It connected or disconnected.
    Presence(Lifecycle),
    /// Its thing has another type.
    ThingType,
    /// It entered or left a thing group.
    Groups,
    /// Its record was changed.
    Device,
}

/// A change of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingEvent {
    /// AWS's id of the thing.
    pub id: String,
    /// Its version after the change.
    pub version: u64,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Its type.
    pub type_name: Option<String>,
    /// Its attributes, all of them.
    pub attributes: BTreeMap<String, String>,
}

/// A change of a shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowEvent {
    /// Its name; empty for the unnamed one.
    pub name: String,
    /// What it is now.
    pub shadow: Shadow,
}

/// A message of the queue: the device, and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The device.
    pub thing_name: ThingName,
    /// What happened.
    pub event: Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfThing {
    thing_id: String,
    version_number: u64,
    #[serde(default)]
    thing_type_name: Option<String>,
    #[serde(default)]
    attributes: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfPresence {
    session_identifier: String,
    timestamp: Moment,
    #[serde(default)]
    disconnect_reason: Option<String>,
}

#[derive(Deserialize)]
struct OfShadow {
    version: u64,
    /// In seconds.
    timestamp: u64,
    #[serde(default)]
    state: Option<Map<String, Value>>,
}

impl Message {
    /// Reads a message's body. None: it is of no device that Lamplighter could
    /// have made, such as a client id that is no thing's name.
    ///
    /// # Errors
    /// `Invalid` for what AWS does not send.
    pub fn parse(body: &str) -> Result<Option<Self>, Failure> {
        let unreadable = |why: String| {
            Failure::invalid("body", why, "Compare the topic rules with the template.")
        };
        let message: Value = serde_json::from_str(body).map_err(|error| {
            let topic = member(body, "topic").unwrap_or_default();
            unreadable(error.to_string()).operator(format!("the topic is {topic}"))
        })?;
        let topic = message["topic"].as_str().unwrap_or_default().to_owned();
        let levels: Vec<&str> = topic.split('/').collect();
        let read = Read(message);
        let (thing, event) = match levels[..] {
            ["$aws", "events", "thing", thing, what] => (thing, read.thing(what == "deleted")),
            ["$aws", "events", "thingTypeAssociation", "thing", thing, ..] => {
                (thing, Ok(Event::ThingType))
            }
            [
                "$aws",
                "events",
                "thingGroupMembership",
                "thingGroup",
                _,
                "thing",
                thing,
                _,
            ] => (thing, Ok(Event::Groups)),
            ["$aws", "events", "presence", what, client] => {
                (client, read.presence(what == "connected"))
            }
            ["$aws", "things", thing, "shadow", "update", "documents"] => {
                (thing, read.shadow("", false))
            }
            ["$aws", "things", thing, "shadow", "delete", "accepted"] => {
                (thing, read.shadow("", true))
            }
            [
                "$aws",
                "things",
                thing,
                "shadow",
                "name",
                name,
                "update",
                "documents",
            ] => (thing, read.shadow(name, false)),
            [
                "$aws",
                "things",
                thing,
                "shadow",
                "name",
                name,
                "delete",
                "accepted",
            ] => (thing, read.shadow(name, true)),
            // An event of our own bus has no topic.
            [""] => match message_of_bus(&read.0) {
                Some(thing) => return Ok(Some(thing)),
                None => return Err(unreadable("the message has no topic".to_owned())),
            },
            _ => {
                return Err(unreadable(format!(
                    "nothing is known of the topic {}",
                    quoted(&topic)
                )));
            }
        };
        let event = event.map_err(|why| {
            let topic = levels.join("/");
            unreadable(why).operator(format!("the topic is {topic}"))
        })?;
        let thing_name = ThingName::parse(thing).ok();
        Ok(thing_name.map(|thing_name| Self { thing_name, event }))
    }
}

/// What an event of the bus about a device means.
fn message_of_bus(event: &Value) -> Option<Message> {
    if event["source"] != SOURCE {
        return None;
    }
    let thing_name = ThingName::parse(event["detail"]["thingName"].as_str()?).ok()?;
    Some(Message {
        thing_name,
        event: Event::Device,
    })
}

/// A message's payload.
struct Read(Value);

impl Read {
    fn thing(self, deleted: bool) -> Result<Event, String> {
        let read: OfThing = serde_json::from_value(self.0).map_err(|error| error.to_string())?;
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        let attributes = read.attributes.unwrap_or_default().into_iter();
        Ok(Event::Thing(ThingEvent {
            id: read.thing_id,
            version: read.version_number,
            deleted,
            type_name: read.thing_type_name,
            attributes: attributes
                .filter_map(|(name, value)| Some((name, text(value)?)))
                .collect(),
        }))
    }

    fn presence(self, connected: bool) -> Result<Event, String> {
        let read: OfPresence = serde_json::from_value(self.0).map_err(|error| error.to_string())?;
        Ok(Event::Presence(Lifecycle {
            session: read.session_identifier,
            at: read.timestamp,
            what: if connected {
                Happened::Connected
            } else {
                Happened::Disconnected(read.disconnect_reason)
            },
        }))
    }

    fn shadow(self, name: &str, deleted: bool) -> Result<Event, String> {
        let read: OfShadow = serde_json::from_value(self.0).map_err(|error| error.to_string())?;
        let state = match (deleted, read.state) {
            (true, _) => None,
            (false, state) => Some(Shadow::state_of(state.unwrap_or_default())?),
        };
        Ok(Event::Shadow(ShadowEvent {
            name: name.to_owned(),
            shadow: Shadow {
                version: read.version,
                at: Moment(read.timestamp.saturating_mul(1000)),
                state,
            },
        }))
    }
}

impl Shadow {
    /// A shadow's state as it is stored: what is desired and reported.
    ///
    /// # Errors
    /// It is longer than AWS allows.
    pub fn state_of(mut state: Map<String, Value>) -> Result<String, String> {
        state.retain(|name, _| matches!(name.as_str(), "desired" | "reported"));
        let text = Value::Object(state).to_string();
        if text.len() > MOST_STATE_BYTES {
            return Err(format!("the shadow's state is {} bytes long", text.len()));
        }
        Ok(text)
    }
}
