//! Who gets a job: whom a query finds, and who of those found is admitted.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::spec::Spec;
use crate::device::{DeviceRecord, DeviceStatus};
use crate::failure::Failure;
use crate::group::{Document, Language, Query};
use crate::names::ThingName;

/// How many of those that are left out are named.
const EXAMPLES: usize = 20;

/// A query that is asked of every device.
#[derive(Clone, Debug)]
pub struct Finder(Query);

impl Finder {
    /// Reads the query.
    ///
    /// # Errors
    /// `Invalid` for `path`: it does not parse, or asks what is not known here.
    pub fn of_query(path: &str, text: &str, semver: bool) -> Result<Self, Failure> {
        let language = if semver {
            Language::Extended
        } else {
            Language::Aws
        };
        let parsed = Query::parse(text, language);
        let query = parsed.map_err(|failure| failure.into_failure(path))?.query;
        if let Some(section) = query.asks_beyond_the_registry() {
            return Err(Failure::invalid(
                path,
                format!("a job's targets are not found by {section}"),
                "Ask for attributes, groups, the type and the shadow.",
            ));
        }
        Ok(Self(query))
    }

    /// Whether a device's shadow has to be read to tell.
    pub fn asks_the_shadow(&self) -> bool {
        self.0.may_ask_the_shadow()
    }

    /// Whether a device is found. `shadow` is the state document that AWS
    /// keeps, if the device has one.
    ///
    /// # Errors
    /// `Bug` if what we store of a device is no document.
    pub fn finds(&self, device: &DeviceRecord, shadow: Option<&Value>) -> Result<bool, Failure> {
        let request = &device.request;
        let state = shadow.map(|shadow| &shadow["state"]);
        let document = Document::from_json(&json!({
            "thingName": request.thing_name,
            "thingTypeName": request.thing_type,
            "thingGroupNames": request.groups,
            "billingGroupName": request.billing_group,
            "attributes": request.attributes,
            "shadow": state.map(|state| json!({
                "reported": state["reported"],
                "desired": state["desired"],
                "delta": state["delta"],
                "hasDelta": state.get("delta").is_some(),
            })),
        }))
        .map_err(|failure| Failure::bug(failure.to_string()))?;
        Ok(self.0.matches(&document))
    }
}

/// The firmware that a shadow reports.
pub fn reported_firmware(shadow: &Value) -> Option<&str> {
    shadow["state"]["reported"]["firmware_version"].as_str()
}

/// Why a target is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// The thing.
    pub thing_name: ThingName,
    /// Why.
    pub reason: String,
}

/// `ROLLOUT#id / LEFT_OUT`: some of those that were left out of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples {
    /// The first of them.
    pub examples: Vec<LeftOut>,
}

impl Examples {
    /// With more of them, each once: a page may be listed twice.
    #[must_use]
    pub fn and(mut self, more: &[LeftOut]) -> Self {
        for one in more {
            let known = self.examples.iter().any(|e| e.thing_name == one.thing_name);
            if !known && self.examples.len() < EXAMPLES {
                self.examples.push(one.clone());
            }
        }
        self
    }
}

/// The refusal of a rollout that has no targets, or none that may get it.
pub fn nobody(left_out: &[LeftOut]) -> Failure {
    if left_out.is_empty() {
        return Failure::invalid(
            "targets",
            "there is nobody in them",
            "Check the group or the query; a job with lateJoiners waits for whoever comes.",
        );
    }
    let named = left_out.iter().take(EXAMPLES);
    let named: Vec<_> = named
        .map(|one| format!("{} ({})", one.thing_name, one.reason))
        .collect();
    let more = match left_out.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Failure::invalid(
        "targets",
        format!("none of its targets may get it: {}{more}", named.join(", ")),
        "Target devices that may; a dry run tells who that is.",
    )
}

/// Whether a device is admitted; if not, why.
///
/// # Errors
/// The reason.
pub fn admit(spec: &Spec, name: &ThingName, device: Option<&DeviceRecord>) -> Result<(), LeftOut> {
    let reason = match device {
        None => "the registry has no such device".to_owned(),
        Some(device) if device.status != DeviceStatus::Active => {
            format!("it is {}", device.status.name())
        }
        Some(device) if device.quarantined_at.is_some() => "it is quarantined".to_owned(),
        Some(device) if !spec.admits(device.request.thing_type.as_ref()) => {
            match &device.request.thing_type {
                Some(other) => format!("it is a {other}, which the job is not for"),
                None => "it has no type, and the job is for one".to_owned(),
            }
        }
        Some(_) => return Ok(()),
    };
    Err(LeftOut {
        thing_name: name.clone(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ThingTypeName;

    fn device(more: &[(&str, Value)]) -> DeviceRecord {
        let mut row = json!({
            "thingName": "light-1", "thingType": "streetlight", "groups": ["navigli"],
            "attributes": {"city": "milan"}, "status": "ACTIVE", "custody": "device",
            "createdBy": format!("op-{}", "0".repeat(32)),
            "operationId": format!("op-{}", "0".repeat(32)),
            "createdAt": 1, "listingShard": "DEVICES#00",
        });
        for (name, value) in more {
            row[*name] = value.clone();
        }
        serde_json::from_value(row).unwrap()
    }

    fn check(query: &str, shadow: Option<Value>, found: bool) {
        let finder = Finder::of_query("query", query, true).unwrap();
        assert_eq!(
            finder.finds(&device(&[]), shadow.as_ref()).unwrap(),
            found,
            "{query}"
        );
    }

    #[test]
    fn whom_a_query_finds() {
        let shadow = || Some(json!({"state": {"reported": {"firmware_version": "1.9.0"}}}));
        check("attributes.city:milan", None, true);
        check("attributes.city:turin", None, false);
        check(
            "thingTypeName:streetlight AND thingGroupNames:navigli",
            None,
            true,
        );
        let old = "shadow.reported.firmware_version<semver\"1.10.0\"";
        check(old, shadow(), true);
        check(old, None, false);
        check("shadow.hasDelta:true", shadow(), false);
        let asks = |query| {
            Finder::of_query("q", query, false)
                .unwrap()
                .asks_the_shadow()
        };
        assert!(asks("shadow.reported.a:1") && asks("milan"));
        assert!(!asks("attributes.city:milan AND thingTypeName:x"));
        for beyond in ["connectivity.connected:true", "deviceDefender.x:1"] {
            assert!(Finder::of_query("q", beyond, false).is_err(), "{beyond}");
        }
    }

    #[test]
    fn who_is_admitted() {
        let mut spec = Spec::read("", json!({"waves": [1]})).unwrap();
        spec.thing_type = Some(ThingTypeName::parse("streetlight").unwrap());
        let name = ThingName::parse("light-1").unwrap();
        let reason = |device: Option<DeviceRecord>| {
            admit(&spec, &name, device.as_ref())
                .err()
                .map(|left| left.reason)
        };
        assert_eq!(reason(Some(device(&[]))), None);
        for (device, says) in [
            (None, "no such device"),
            (Some(device(&[("status", json!("DELETING"))])), "DELETING"),
            (Some(device(&[("quarantinedAt", json!(1))])), "quarantined"),
            (Some(device(&[("thingType", json!("valve"))])), "a valve"),
            (Some(device(&[("thingType", Value::Null)])), "no type"),
        ] {
            let reason = reason(device).expect(says);
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn those_left_out_are_named_up_to_twenty() {
        let some = |from: u32, to: u32| {
            let names = (from..to).map(|n| ThingName::parse(&format!("light-{n}")).unwrap());
            let left_out = names.map(|thing_name| LeftOut {
                thing_name,
                reason: "it is DELETING".to_owned(),
            });
            left_out.collect::<Vec<_>>()
        };
        let known = Examples::default().and(&some(0, 3));
        assert_eq!(known.clone().and(&some(0, 3)), known, "the same page again");
        let known = known.and(&some(2, 60));
        assert_eq!(known.examples, some(0, 20));
        assert_eq!(nobody(&[]).reason, "there is nobody in them");
        let refused = nobody(&some(0, 2));
        assert_eq!(refused.field.as_deref(), Some("targets"));
        let named = "light-0 (it is DELETING), light-1 (it is DELETING)";
        assert!(refused.reason.ends_with(named), "{}", refused.reason);
        let many = nobody(&some(0, 23)).reason;
        assert!(many.ends_with(", and 3 more"), "{many}");
    }
}
