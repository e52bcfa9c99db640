//! What a caller asks for when a device is created, checked at the edge.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::csr::Csr;
use crate::device::Issuer;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, ProfileName, ThingName,
    ThingTypeName,
};

/// AWS allows a thing ten groups, dynamic ones included ("AWS IoT Core thing
/// resource limits and quotas"); two stay free for waves and for hand work.
pub const MOST_GROUPS: usize = 8;
/// A thing with a type has at most 50 attributes.
pub const MOST_ATTRIBUTES_WITH_TYPE: usize = 50;
/// A thing without a type has at most 3 attributes.
pub const MOST_ATTRIBUTES_WITHOUT_TYPE: usize = 3;
/// All attributes of a thing together hold at most 47 KiB.
const MOST_ATTRIBUTE_BYTES: usize = 47 * 1024;
/// A creation's body is at most this long.
pub const MOST_BODY_BYTES: usize = 64 * 1024;

const SHAPE: &str = "Send JSON: {\"thingName\": …, \"thingType\"?, \"attributes\"?, \"groups\"?, \
                     \"billingGroup\"?, \"csr\"?, \"issuer\"?, \"idempotencyKey\"?}.";

/// A request to create one device. Every field holds only what AWS accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateRequest {
    /// The device's name.
    pub thing_name: ThingName,
    /// Its thing type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Its static groups, sorted; empty until the default group is filled in.
    pub groups: BTreeSet<GroupName>,
    /// Its billing group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_group: Option<BillingGroupName>,
    /// The signing request, when the device made its own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<Csr>,
    /// What signs its certificate; empty until the default is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// The profile that a claim was made under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
}

/// A checked request and the idempotency key that came with it.
pub type Keyed = (CreateRequest, Option<String>);

impl CreateRequest {
    /// Reads a JSON body and the `Idempotency-Key` header beside it.
    pub fn parse(body: &[u8], header_key: Option<&str>) -> Result<Keyed, Failure> {
        if body.len() > MOST_BODY_BYTES {
            return Err(Failure::invalid(
                "body",
                format!("the body is {} bytes long", body.len()),
                format!("Send at most {MOST_BODY_BYTES} bytes."),
            )
            .status(413));
        }
        let mut fields = Fields::parse(body, SHAPE)?;
        let request = Self::take(&mut fields)?;
        let key = one_key(fields.text("idempotencyKey")?.as_deref(), header_key)?;
        fields.end()?;
        request.within_limits()?;
        Ok((request, key))
    }

    fn take(fields: &mut Fields) -> Result<Self, Failure> {
        Ok(Self {
            thing_name: ThingName::parse(&fields.required_text("thingName")?)?,
            thing_type: optional(fields, "thingType", ThingTypeName::parse)?,
            attributes: fields
                .text_map("attributes")?
                .iter()
                .map(|(name, value)| {
                    Ok((AttributeName::parse(name)?, AttributeValue::parse(value)?))
                })
                .collect::<Result<_, Failure>>()?,
            groups: fields
                .texts("groups")?
                .iter()
                .map(|group| GroupName::parse(group))
                .collect::<Result<_, _>>()?,
            billing_group: optional(fields, "billingGroup", BillingGroupName::parse)?,
            csr: optional(fields, "csr", Csr::parse)?,
            issuer: optional(fields, "issuer", Issuer::parse)?,
            profile: None,
        })
    }

    /// Refuses what AWS would refuse, or would let nobody add to later.
    pub fn within_limits(&self) -> Result<(), Failure> {
        let (most, why) = if self.thing_type.is_some() {
            (MOST_ATTRIBUTES_WITH_TYPE, "with a thing type")
        } else {
            (MOST_ATTRIBUTES_WITHOUT_TYPE, "without a thing type")
        };
        if self.attributes.len() > most {
            return Err(Failure::invalid(
                "attributes",
                format!(
                    "{} attributes are given; a thing {why} has at most {most}",
                    self.attributes.len()
                ),
                if self.thing_type.is_some() {
                    "Leave some out; changing values belong into the shadow."
                } else {
                    "Leave some out, or give a thingType: a thing with one has up to 50."
                },
            ));
        }
        let bytes: usize = self
            .attributes
            .iter()
            .map(|(n, v)| n.as_str().len() + v.as_str().len())
            .sum();
        if bytes > MOST_ATTRIBUTE_BYTES {
            return Err(Failure::invalid(
                "attributes",
                format!("the attributes are {bytes} bytes together"),
                format!("Keep names and values within {MOST_ATTRIBUTE_BYTES} bytes together."),
            ));
        }
        if self.groups.len() > MOST_GROUPS {
            return Err(Failure::invalid(
                "groups",
                format!("{} groups are given", self.groups.len()),
                format!(
                    "Give at most {MOST_GROUPS}: AWS allows a thing ten, and two are kept free \
                     for job waves and dynamic groups."
                ),
            ));
        }
        Ok(())
    }

    /// Fills in the stack's default group where the caller named none.
    #[must_use]
    pub fn or_default_group(mut self, default: &GroupName) -> Self {
        if self.groups.is_empty() {
            self.groups.insert(default.clone());
        }
        self
    }

    /// Fills in the stack's issuer where the caller named none.
    #[must_use]
    pub fn or_default_issuer(mut self, default: Issuer) -> Self {
        self.issuer = self.issuer.or(Some(default));
        self
    }

    /// What signs the certificate. Requests recorded before there was a choice
    /// name none: theirs is AWS IoT.
    pub fn issuer(&self) -> Issuer {
        self.issuer.unwrap_or(Issuer::AwsIot)
    }

    /// The first field in which another request for the same name differs.
    pub fn first_difference(&self, other: &Self) -> Option<&'static str> {
        // ECDSA signs the same request anew each time: its key is what counts.
        let csr = |r: &Self| r.csr.as_ref().map(|c| c.public_key().clone());
        [
            ("thingName", self.thing_name != other.thing_name),
            ("thingType", self.thing_type != other.thing_type),
            ("attributes", self.attributes != other.attributes),
            ("groups", self.groups != other.groups),
            ("billingGroup", self.billing_group != other.billing_group),
            ("csr", csr(self) != csr(other)),
            ("issuer", self.issuer() != other.issuer()),
            ("profile", self.profile != other.profile),
        ]
        .into_iter()
        .find_map(|(field, differs)| differs.then_some(field))
    }
}

fn optional<T>(
    fields: &mut Fields,
    name: &str,
    parse: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    fields.text(name)?.as_deref().map(parse).transpose()
}

/// The one idempotency key of a request that may carry it in two places.
pub fn one_key(body: Option<&str>, header: Option<&str>) -> Result<Option<String>, Failure> {
    let key = match (body, header) {
        (Some(body), Some(header)) if body != header => {
            return Err(Failure::invalid(
                "idempotencyKey",
                "the header Idempotency-Key and the body's idempotencyKey differ",
                "Send one of them, or the same in both.",
            ));
        }
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => return Ok(None),
    };
    if key.is_empty() || key.len() > 256 || !key.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return Err(Failure::invalid(
            "idempotencyKey",
            "the key is not 1 to 256 visible ASCII characters",
            "Send a UUID, for example.",
        ));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &serde_json::Value, field: Option<&str>) {
        let parsed = CreateRequest::parse(body.to_string().as_bytes(), None);
        match (parsed, field) {
            (Ok(_), None) => {}
            (Err(failure), Some(field)) => {
                assert_eq!(failure.field.as_deref(), Some(field), "{body}: {failure:?}");
                assert!((400..500).contains(&failure.http_status()));
                assert!(!failure.reason.is_empty() && !failure.remedy.is_empty());
            }
            (parsed, _) => panic!("{body}: {parsed:?}"),
        }
    }

    fn attributes(n: usize) -> serde_json::Value {
        (0..n)
            .map(|i| (format!("a{i}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn groups(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("g{i}")).collect()
    }

    #[test]
    fn requests_at_and_past_each_limit() {
        check(&json!({"thingName": "a"}), None);
        check(
            &json!({"thingName": "a", "attributes": attributes(3)}),
            None,
        );
        check(
            &json!({"thingName": "a", "attributes": attributes(4)}),
            Some("attributes"),
        );
        check(
            &json!({"thingName": "a", "thingType": "t", "attributes": attributes(50)}),
            None,
        );
        check(
            &json!({"thingName": "a", "thingType": "t", "attributes": attributes(51)}),
            Some("attributes"),
        );
        check(&json!({"thingName": "a", "groups": groups(8)}), None);
        check(
            &json!({"thingName": "a", "groups": groups(9)}),
            Some("groups"),
        );
        check(&json!({"thingName": "a", "groups": ["a", "a"]}), None);
    }

    #[test]
    fn every_field_is_checked() {
        check(&json!({}), Some("thingName"));
        check(&json!([]), Some("body"));
        let sequence = json!(["l", "t", {"city": "milan"}, ["g"], null, null, null, null]);
        check(&sequence, Some("body"));
        check(&json!({"thingName": 7}), Some("thingName"));
        for field in [
            "thingType",
            "attributes",
            "groups",
            "billingGroup",
            "csr",
            "issuer",
        ] {
            check(&json!({"thingName": "a", field: 7}), Some(field));
        }
        check(
            &json!({"thingName": "a", "idempotencyKey": 7}),
            Some("idempotencyKey"),
        );
        check(&json!({"thingName": "a", "colour": "red"}), Some("body"));
        check(&json!({"thingName": "a b"}), Some("thingName"));
        check(
            &json!({"thingName": "a", "thingType": "t/t"}),
            Some("thingType"),
        );
        check(
            &json!({"thingName": "a", "groups": ["milan/navigli"]}),
            Some("groups"),
        );
        check(
            &json!({"thingName": "a", "billingGroup": ""}),
            Some("billingGroup"),
        );
        check(
            &json!({"thingName": "a", "attributes": {"a b": "c"}}),
            Some("attributes"),
        );
        check(
            &json!({"thingName": "a", "attributes": {"a": "ü"}}),
            Some("attributes"),
        );
        check(&json!({"thingName": "a", "attributes": {"a": ""}}), None);
        check(&json!({"thingName": "a", "csr": "junk"}), Some("csr"));
        check(&json!({"thingName": "a", "issuer": "kms-ca"}), None);
        check(&json!({"thingName": "a", "issuer": "acm"}), Some("issuer"));
        check(
            &json!({"thingName": "a", "idempotencyKey": ""}),
            Some("idempotencyKey"),
        );
    }

    #[test]
    fn an_oversized_body_is_refused_before_it_is_read() {
        let failure = CreateRequest::parse(&vec![b'x'; MOST_BODY_BYTES + 1], None).unwrap_err();
        assert_eq!(failure.http_status(), 413);
    }

    #[test]
    fn an_attribute_given_twice_is_refused() {
        let body = br#"{"thingName": "a", "attributes": {"b": "1", "b": "2"}}"#;
        let failure = CreateRequest::parse(body, None).unwrap_err();
        assert!(failure.reason.contains("comes twice"), "{failure:?}");
    }

    #[test]
    fn no_reason_repeats_a_key_that_came_in_the_wrong_field() {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let lines: Vec<_> = pem.lines().collect();
        for (field, value) in [
            ("thingName", json!(lines[1])),
            ("thingName", json!(pem)),
            ("attributes", json!(pem)),
            ("attributes", json!({ "a": pem })),
            ("attributes", json!({ lines[1]: "a" })),
            ("groups", json!([lines[1]])),
            ("issuer", json!(pem)),
            ("csr", json!(pem)),
            (lines[1], json!("a")),
        ] {
            let mut body = json!({"thingName": "a"});
            body[field] = value;
            let Err(failure) = CreateRequest::parse(body.to_string().as_bytes(), None) else {
                continue; // By chance the line is a name that AWS would take.
            };
            let shown = format!("{failure:?}");
            assert!(!shown.contains(&lines[1][24..]), "{field}: {shown}");
            assert!(!shown.contains("RawCreateRequest"), "{field}: {shown}");
        }
    }

    #[test]
    fn two_keys_must_agree() {
        let body = br#"{"thingName": "a", "idempotencyKey": "k"}"#;
        assert_eq!(
            CreateRequest::parse(body, Some("k")).unwrap().1.as_deref(),
            Some("k")
        );
        assert!(CreateRequest::parse(body, Some("l")).is_err());
        let failure = CreateRequest::parse(br#"{"thingName": "a"}"#, Some("schlüssel"));
        assert_eq!(
            failure.unwrap_err().field.as_deref(),
            Some("idempotencyKey")
        );
    }

    #[test]
    fn the_first_difference_is_named() {
        let base = json!({"thingName": "a", "thingType": "t", "groups": ["g", "h"]});
        let read = |v: &serde_json::Value| {
            CreateRequest::parse(v.to_string().as_bytes(), None)
                .unwrap()
                .0
        };
        let reordered = json!({"groups": ["h", "g", "g"], "thingType": "t", "thingName": "a"});
        assert_eq!(read(&base).first_difference(&read(&reordered)), None);
        let named = read(&base).or_default_issuer(Issuer::AwsIot);
        assert_eq!(
            read(&base).first_difference(&named),
            None,
            "recorded before there was a choice"
        );
        for (field, other) in [
            ("thingType", json!({"thingName": "a", "groups": ["g", "h"]})),
            (
                "groups",
                json!({"thingName": "a", "thingType": "t", "groups": ["g"]}),
            ),
            (
                "attributes",
                json!({"thingName": "a", "thingType": "t", "groups": ["g", "h"], "attributes": {"x": "1"}}),
            ),
            (
                "billingGroup",
                json!({"thingName": "a", "thingType": "t", "groups": ["g", "h"], "billingGroup": "b"}),
            ),
            (
                "issuer",
                json!({"thingName": "a", "thingType": "t", "groups": ["g", "h"], "issuer": "kms-ca"}),
            ),
        ] {
            assert_eq!(read(&base).first_difference(&read(&other)), Some(field));
        }
    }

    #[test]
    fn a_signing_request_signed_anew_by_the_same_key_is_the_same() {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = |name: &str| {
            let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            let csr = parameters.serialize_request(&key).unwrap().pem().unwrap();
            let body = json!({"thingName": "a", "csr": csr}).to_string();
            CreateRequest::parse(body.as_bytes(), None).unwrap().0
        };
        let (first, again) = (request("a"), request("b"));
        assert_ne!(first.csr, again.csr);
        assert_eq!(first.first_difference(&again), None);
    }
}
