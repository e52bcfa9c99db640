//! A device's document as it is stored, and how each event changes it.
//!
//! What an event says is believed if it carries an order of its own: things and
//! shadows a version, presence its session. Group membership, thing type and
//! billing group come without one, so such an event only says what to look at.
//! Who writes the document has read it before looking, and writes only if it is
//! still the same; so the last look stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::event::{Event, ShadowEvent, ThingEvent};
use super::presence::Presence;
use crate::device::DeviceRecord;
use crate::failure::Failure;
use crate::names::{OperationId, ThingName};
use crate::quote::quoted;
use crate::rollout::RolloutId;
use crate::time::Moment;

/// AWS keeps a deleted shadow's version for so long, and begins anew after that
/// ("Interacting with shadows", AWS IoT Core Developer Guide).
const SHADOW_VERSION_KEPT_MILLIS: u64 = 48 * 60 * 60 * 1000;
/// The shadows of one device have at most this many bytes together: the row
/// must stay under `DynamoDB`'s 400 KB. AWS allows 8 KB a shadow.
const MOST_SHADOW_BYTES: usize = 256 * 1024;
/// Of so many refused shadows the document says that they are.
const MOST_STALE: usize = 32;

/// `DEVICE#name / DOCUMENT`: what queries are asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentRow {
    /// The device.
    pub thing_name: ThingName,
    /// The creation that the device stems from.
    pub generation: OperationId,
    /// When that began: what happened before is of an earlier device of the
    /// name.
    pub since: Moment,
    /// Counts the changes of this row, from 1.
    pub version: u64,
    /// The version of the definitions under which `MEMBERSHIP` is true of this
    /// document.
    pub definitions_version: u64,
    /// The thing; nothing as long as AWS has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing: Option<Thing>,
    /// All thing groups that it is in, dynamic ones of AWS's included; those of
    /// jobs' waves left out, which are nobody's business but the job's, and come
    /// and go without being heard of.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Its unnamed shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classic: Option<Shadow>,
    /// Its named shadows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<String, Shadow>,
    /// Shadows whose newest state was refused, so that an earlier one, or none, is
    /// here; the unnamed one has the empty name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stale_shadows: BTreeSet<String>,
    /// Whether it is connected.
    #[serde(default)]
    pub presence: Presence,
}

/// A thing of AWS IoT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thing {
    /// AWS's id; another thing of the name has another one.
    pub id: String,
    /// Counts its changes.
    pub version: u64,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Its billing group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_group: Option<String>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// A shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// Counts its changes.
    pub version: u64,
    /// When it changed, to the second.
    pub at: Moment,
    /// `{desired?, reported?}` as JSON text; nothing once it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What is to be looked at in AWS before events are taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The thing, with its type and billing group.
    pub thing: bool,
    /// The groups that it is in.
    pub groups: bool,
    /// All its shadows.
    pub shadows: bool,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The thing, or that there is none.
    pub thing: Option<Option<Thing>>,
    /// The groups.
    pub groups: Option<BTreeSet<String>>,
    /// Shadows by name; the unnamed one has the empty name.
    pub shadows: BTreeMap<String, Shadow>,
}

impl DocumentRow {
    /// The document of a device of which nothing is known yet.
    pub fn begin(record: &DeviceRecord) -> Self {
        Self {
            thing_name: record.request.thing_name.clone(),
            generation: record.created_by.clone(),
            since: record.created_at,
            version: 0,
            definitions_version: 0,
            thing: None,
            groups: BTreeSet::new(),
            classic: None,
            named: BTreeMap::new(),
            stale_shadows: BTreeSet::new(),
            presence: Presence::default(),
        }
    }

    /// What has to be looked at to take these events in.
    pub fn wanted(&self, events: &[Event]) -> Wanted {
        let is_new = self.version == 0
            || events
                .iter()
                .any(|event| matches!(event, Event::Thing(thing) if !self.is_of(thing)));
        let any = |wanted: fn(&Event) -> bool| is_new || events.iter().any(wanted);
        Wanted {
            thing: any(|event| matches!(event, Event::ThingType | Event::Device)),
            groups: any(|event| matches!(event, Event::Groups | Event::Device)),
            shadows: is_new,
        }
    }

    fn is_of(&self, event: &ThingEvent) -> bool {
        self.thing
            .as_ref()
            .is_some_and(|thing| thing.id == event.id)
    }

    /// Takes in what a look found. What it was about is as it was found, since
    /// this document was read before the look.
    pub fn observed(&mut self, seen: Observation) {
        match (seen.thing, &mut self.thing) {
            (Some(Some(found)), Some(thing)) if found.id == thing.id => {
                if found.version >= thing.version && !thing.gone {
                    *thing = found;
                }
            }
            // Another thing of the name has none of the first one's shadows.
            (Some(Some(found)), thing) => {
                *thing = Some(found);
                let shadows = self.classic.iter_mut().chain(self.named.values_mut());
                shadows.for_each(|shadow| shadow.state = None);
                self.stale_shadows.clear();
            }
            (Some(None), Some(thing)) => thing.gone = true,
            (Some(None) | None, _) => {}
        }
        if let Some(groups) = seen.groups {
            let lasting = |name: &String| RolloutId::wave_of(name).is_none();
            self.groups = groups.into_iter().filter(lasting).collect();
        }
        for (name, shadow) in seen.shadows {
            self.stale_shadows.remove(&name);
            match name.as_str() {
                "" => self.classic = Some(shadow),
                _ => drop(self.named.insert(name, shadow)),
            }
        }
    }

    /// Takes an event in; a stale one changes nothing.
    ///
    /// # Errors
    /// `Invalid` when the document would become too large. It says of the shadow
    /// then that it is stale.
    pub fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Thing(event) => self.take_thing(event),
            Event::Shadow(event) => return self.take_shadow(event),
            Event::Presence(event) => {
                if event.at >= self.since {
                    self.presence.take(event);
                }
            }
            // What these are about was looked at.
            Event::ThingType | Event::Groups | Event::Device => {}
        }
        Ok(())
    }

    fn take_thing(&mut self, event: ThingEvent) {
        let Some(thing) = self.thing.as_mut().filter(|thing| thing.id == event.id) else {
            return;
        };
        if event.deleted {
            thing.gone = true;
        }
        if thing.gone || event.version <= thing.version {
            return;
        }
        thing.version = event.version;
        thing.type_name = event.type_name;
        thing.attributes = event.attributes;
    }

    fn take_shadow(&mut self, event: ShadowEvent) -> Result<(), Failure> {
        let known = match event.name.as_str() {
            "" => self.classic.as_ref(),
            name => self.named.get(name),
        };
        // A shadow's time has no milliseconds.
        let is_earlier = event.shadow.at.epoch_seconds() < self.since.epoch_seconds();
        if is_earlier || known.is_some_and(|known| !event.shadow.follows(known)) {
            return Ok(());
        }
        let others: usize = self.shadows().map(|(_, shadow)| shadow.bytes()).sum();
        let bytes = others - known.map_or(0, Shadow::bytes) + event.shadow.bytes();
        if bytes > MOST_SHADOW_BYTES {
            let refused = Failure::invalid(
                "shadow",
                format!(
                    "with the shadow {}, those of {} are {bytes} bytes long",
                    quoted(&event.name),
                    self.thing_name
                ),
                format!("Keep them under {MOST_SHADOW_BYTES} bytes together."),
            );
            if self.stale_shadows.len() < MOST_STALE {
                self.stale_shadows.insert(event.name);
            }
            return Err(refused);
        }
        self.stale_shadows.remove(&event.name);
        match event.name.as_str() {
            "" => self.classic = Some(event.shadow),
            _ => drop(self.named.insert(event.name, event.shadow)),
        }
        Ok(())
    }

    fn shadows(&self) -> impl Iterator<Item = (&str, &Shadow)> {
        let named = self
            .named
            .iter()
            .map(|(name, shadow)| (name.as_str(), shadow));
        self.classic.iter().map(|shadow| ("", shadow)).chain(named)
    }

    /// The document as queries see it; nothing while there is no thing. Groups
    /// that AWS's own queries fill are no static ones.
    pub fn json(&self, is_dynamic: impl Fn(&str) -> bool) -> Option<Value> {
        let thing = self.thing.as_ref().filter(|thing| !thing.gone)?;
        let groups = self.groups.iter().filter(|name| !is_dynamic(name));
        let mut shadow = self.classic.as_ref().and_then(Shadow::json);
        for (name, named) in &self.named {
            if let Some(state) = named.json() {
                let shadow = shadow.get_or_insert_default();
                let named = shadow.entry("name").or_insert_with(|| json!({}));
                named[name] = Value::Object(state);
            }
        }
        let mut document = json!({
            "thingName": self.thing_name,
            "thingTypeName": thing.type_name,
            "thingGroupNames": groups.collect::<Vec<_>>(),
            "billingGroupName": thing.billing_group,
            "attributes": thing.attributes,
            "shadow": shadow,
            "connectivity": self.presence.json(),
        });
        // No field that a query could ask for.
        if !self.stale_shadows.is_empty() {
            document["staleShadows"] = json!(self.stale_shadows);
        }
        Some(document)
    }
}

impl Shadow {
    /// Whether this is a later state of the same shadow. Its version goes on
    /// after a deletion, and begins anew two days later.
    fn follows(&self, known: &Self) -> bool {
        let anew = known.state.is_none()
            && self.at > known.at.plus_millis(SHADOW_VERSION_KEPT_MILLIS)
            && self.state.is_some();
        self.version > known.version
            || anew
            || self.version == known.version && self.state.is_none() && known.state.is_some()
    }

    fn bytes(&self) -> usize {
        self.state.as_ref().map_or(0, String::len)
    }

    /// The sections that queries know, with what differs between the two.
    fn json(&self) -> Option<Map<String, Value>> {
        let text = self.state.as_deref()?;
        let mut state: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let none = Map::new();
        let section = |name: &str| state.get(name).and_then(Value::as_object).unwrap_or(&none);
        let delta = delta(section("desired"), section("reported"));
        state.insert("hasDelta".to_owned(), (!delta.is_empty()).into());
        state.insert("delta".to_owned(), Value::Object(delta));
        Some(state)
    }
}

/// What is desired and not reported so ("Device Shadow service documents", AWS
/// IoT Core Developer Guide): objects differ member by member, all else whole.
fn delta(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Map<String, Value> {
    desired
        .iter()
        .filter_map(|(name, wanted)| {
            let differing = match (wanted, reported.get(name)) {
                (wanted, Some(found)) if wanted == found => return None,
                (Value::Object(wanted), Some(Value::Object(found))) => {
                    let inside = delta(wanted, found);
                    if inside.is_empty() {
                        return None;
                    }
                    Value::Object(inside)
                }
                (wanted, _) => wanted.clone(),
            };
            Some((name.clone(), differing))
        })
        .collect()
}
