//! Names that may be claimed: announced ahead of the devices, under a profile.

use serde::Serialize;

use crate::device::{DeviceRecord, Preregistration};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::names::{ProfileName, ThingName};

/// The most names in one request: as many as one transaction can write.
pub const MOST_NAMES: usize = 100;
/// A hundred names of 128 characters fit in a fraction of this.
const MOST_BODY_BYTES: usize = 64 * 1024;

/// A request to announce names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreregisterRequest {
    /// The profile they may be claimed under.
    pub profile: ProfileName,
    /// The names, each once, in the caller's order.
    pub thing_names: Vec<ThingName>,
}

/// What stands in the registry under a name.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The name.
    pub name: ThingName,
    /// The device, if there is one.
    pub device: Option<DeviceRecord>,
    /// The announcement, if there is one.
    pub row: Option<Preregistration>,
}

/// What a request comes to, and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// The names to announce.
    pub preregistered: Vec<ThingName>,
    /// The names that are announced under the same profile.
    pub already_preregistered: Vec<ThingName>,
}

impl PreregisterRequest {
    /// Reads a JSON body.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        if body.len() > MOST_BODY_BYTES {
            return Err(Failure::invalid(
                "body",
                format!("the body is {} bytes long", body.len()),
                format!("Send at most {MOST_NAMES} names at once."),
            )
            .status(413));
        }
        let shape = "Send JSON: {\"profile\": …, \"thingNames\": […]}.";
        let mut fields = Fields::parse(body, shape)?;
        let profile = ProfileName::parse(&fields.required_text("profile")?)?;
        let given = fields.texts("thingNames")?;
        fields.end()?;
        if !(1..=MOST_NAMES).contains(&given.len()) {
            return Err(Failure::invalid(
                "thingNames",
                format!("{} names are given", given.len()),
                format!("Give 1 to {MOST_NAMES} at once."),
            ));
        }
        let mut thing_names = Vec::new();
        for (i, name) in given.iter().enumerate() {
            let name = ThingName::parse(name)
                .map_err(|failure| failure.field(&format!("thingNames[{i}]")))?;
            if !thing_names.contains(&name) {
                thing_names.push(name);
            }
        }
        Ok(Self {
            profile,
            thing_names,
        })
    }

    /// Decides by what stands under the names. One conflict refuses them all.
    pub fn split(&self, standing: Vec<Standing>) -> Result<Split, Failure> {
        let mut split = Split::default();
        for Standing { name, device, row } in standing {
            match (device, row) {
                (Some(_), _) => return Err(is_device(&name)),
                (None, None) => split.preregistered.push(name),
                (None, Some(row)) if row.profile == self.profile => {
                    split.already_preregistered.push(name);
                }
                (None, Some(row)) => return Err(elsewhere(&name, &row.profile)),
            }
        }
        Ok(split)
    }
}

fn is_device(name: &ThingName) -> Failure {
    Failure::conflict(
        "thingNames",
        format!("{name} is a device already; nothing was pre-registered"),
        "Leave the name out, or delete the device first.",
    )
}

fn elsewhere(name: &ThingName, profile: &ProfileName) -> Failure {
    Failure::conflict(
        "thingNames",
        format!("{name} is pre-registered under the profile {profile}; nothing was pre-registered"),
        "Leave the name out, or use that profile.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::CreatePlan;
    use crate::names::OperationId;
    use crate::request::CreateRequest;
    use crate::time::Moment;
    use serde_json::{Value, json};

    fn check(body: &Value, refused: Option<&str>) {
        let parsed = PreregisterRequest::parse(body.to_string().as_bytes());
        let field = parsed
            .as_ref()
            .err()
            .and_then(|failure| failure.field.clone());
        assert_eq!(field.as_deref(), refused, "{body}: {parsed:?}");
    }

    #[test]
    fn requests() {
        let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect::<Vec<_>>();
        check(&json!({"profile": "p", "thingNames": names(100)}), None);
        check(
            &json!({"profile": "p", "thingNames": names(101)}),
            Some("thingNames"),
        );
        check(
            &json!({"profile": "p", "thingNames": []}),
            Some("thingNames"),
        );
        check(
            &json!({"profile": "p", "thingNames": ["a", "b c"]}),
            Some("thingNames[1]"),
        );
        check(
            &json!({"profile": "p/q", "thingNames": ["a"]}),
            Some("profile"),
        );
        check(&json!({"thingNames": ["a"]}), Some("profile"));
        check(&json!({"profile": "p"}), Some("thingNames"));
        check(
            &json!({"profile": "p", "thingNames": "a"}),
            Some("thingNames"),
        );
        check(
            &json!({"profile": "p", "thingNames": [7]}),
            Some("thingNames"),
        );
        check(&json!(["p", ["a"]]), Some("body"));
        check(
            &json!({"profile": "p", "thingNames": ["a"], "x": 1}),
            Some("body"),
        );
        let twice =
            PreregisterRequest::parse(br#"{"profile": "p", "thingNames": ["b", "a", "b"]}"#)
                .unwrap();
        assert_eq!(twice.thing_names.len(), 2, "a name given twice counts once");
    }

    fn standing(name: &str, device: bool, profile: Option<&str>) -> Standing {
        let request =
            CreateRequest::parse(json!({ "thingName": name }).to_string().as_bytes(), None)
                .unwrap()
                .0;
        let thing_name = request.thing_name.clone();
        Standing {
            device: device.then(|| {
                CreatePlan::new(OperationId::from_random([0; 16]), request).claimed(Moment(0))
            }),
            row: profile.map(|profile| Preregistration {
                thing_name: thing_name.clone(),
                profile: ProfileName::parse(profile).unwrap(),
            }),
            name: thing_name,
        }
    }

    #[test]
    fn one_conflict_refuses_them_all_and_is_named() {
        let request =
            PreregisterRequest::parse(br#"{"profile": "p", "thingNames": ["a", "b"]}"#).unwrap();
        let split = request
            .split(vec![
                standing("a", false, None),
                standing("b", false, Some("p")),
            ])
            .unwrap();
        assert_eq!(
            (split.preregistered.len(), split.already_preregistered.len()),
            (1, 1)
        );
        for other in [standing("b", true, None), standing("b", false, Some("q"))] {
            let failure = request
                .split(vec![standing("a", false, None), other])
                .unwrap_err();
            assert_eq!(failure.http_status(), 409);
            assert!(failure.reason.starts_with("b is "), "{}", failure.reason);
        }
    }
}
