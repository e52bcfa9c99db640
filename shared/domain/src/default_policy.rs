//! The policy of devices whose creation names no group: a device under its own
//! name, on its own topics, and nothing else.

use serde_json::{Value, json};

/// The topics that belong to one device. `$aws` is AWS's own prefix for
/// shadows, jobs and tunnels, not a variable.
const OWN_TOPICS: [&str; 3] = [
    "lamplighter/things/${iot:Connection.Thing.ThingName}/*",
    "$aws/things/${iot:Connection.Thing.ThingName}/*",
    "dt/${iot:Connection.Thing.ThingName}/*",
];

/// Where a policy holds: everything of an ARN of AWS IoT before the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `aws`, or the partition's name.
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account.
    pub account: String,
}

impl Scope {
    /// The scope of any ARN that names a region and an account.
    pub fn of_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        let (Some("arn"), Some(partition), Some(_), Some(region), Some(account)) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return None;
        };
        let whole = [partition, region, account]
            .iter()
            .all(|part| !part.is_empty());
        whole.then(|| Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
        })
    }

    fn arn(&self, resource: &str) -> String {
        format!(
            "arn:{}:iot:{}:{}:{resource}",
            self.partition, self.region, self.account
        )
    }
}

/// The default policy's document.
///
/// The variable has a value only while the client id is the name of a thing
/// that the certificate is attached to, so attachment is what gives the device
/// its rights.
pub fn document(scope: &Scope) -> Value {
    let topics = |kind: &str| OWN_TOPICS.map(|topic| scope.arn(&format!("{kind}/{topic}")));
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": scope.arn("client/${iot:Connection.Thing.ThingName}"),
                "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            },
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": topics("topic"),
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": topics("topicfilter"),
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arn: &str, scope: Option<[&str; 3]>) {
        let parsed = Scope::of_arn(arn);
        let found = parsed
            .as_ref()
            .map(|s| [&*s.partition, &*s.region, &*s.account]);
        assert_eq!(found, scope, "{arn}");
    }

    #[test]
    fn the_scope_of_an_arn() {
        check(
            "arn:aws:lambda:eu-south-1:123456789012:function:f",
            Some(["aws", "eu-south-1", "123456789012"]),
        );
        check(
            "arn:aws-cn:iot:cn-north-1:1:thing/t",
            Some(["aws-cn", "cn-north-1", "1"]),
        );
        check("arn:aws:s3:::bucket", None);
        check("lambda", None);
    }

    #[test]
    fn every_right_is_bound_to_the_devices_own_name() {
        let scope = Scope::of_arn("arn:aws:lambda:eu-south-1:123456789012:function:f").unwrap();
        let document = document(&scope);
        for statement in document["Statement"].as_array().unwrap() {
            let resources = match &statement["Resource"] {
                Value::Array(all) => all.clone(),
                one => vec![one.clone()],
            };
            for resource in resources {
                let resource = resource.as_str().unwrap();
                assert!(
                    resource.contains("/${iot:Connection.Thing.ThingName}"),
                    "{resource}"
                );
                assert!(
                    resource.starts_with("arn:aws:iot:eu-south-1:123456789012:"),
                    "{resource}"
                );
            }
        }
        crate::catalog::check_document("policies[0].document", &document).unwrap();
    }

    /// Whether one of the document's resources, its variable filled in, covers
    /// a topic. Wildcards are at ends only.
    fn allows(document: &Value, action: &str, kind: &str, topic: &str) -> bool {
        let arn = format!("arn:aws:iot:eu-south-1:123456789012:{kind}/{topic}");
        let list = |value: &Value| match value {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        document["Statement"].as_array().unwrap().iter().any(|s| {
            list(&s["Action"]).contains(&Value::from(action))
                && list(&s["Resource"]).iter().any(|resource| {
                    let own = resource.as_str().unwrap();
                    let own = own.replace("${iot:Connection.Thing.ThingName}", "milan-0001");
                    match own.strip_suffix('*') {
                        Some(beginning) => arn.starts_with(beginning),
                        None => arn == own,
                    }
                })
        })
    }

    #[test]
    fn a_device_may_renew_its_own_certificate_and_nobody_elses() {
        let scope = Scope::of_arn("arn:aws:lambda:eu-south-1:123456789012:function:f").unwrap();
        let document = document(&scope);
        let said = ["certificate/request", "certificate/proof", "telemetry"];
        let told = ["renew", "accepted", "rejected", "retired"];
        for (thing, allowed) in [("milan-0001", true), ("milan-00012", false), ("x", false)] {
            for topic in said {
                let topic = format!("lamplighter/things/{thing}/{topic}");
                assert_eq!(
                    allows(&document, "iot:Publish", "topic", &topic),
                    allowed,
                    "{topic}"
                );
            }
            let shadow = format!("$aws/things/{thing}/shadow/update");
            assert_eq!(allows(&document, "iot:Publish", "topic", &shadow), allowed);
            for word in told {
                let topic = format!("lamplighter/things/{thing}/certificate/{word}");
                let receive = allows(&document, "iot:Receive", "topic", &topic);
                let subscribe = allows(&document, "iot:Subscribe", "topicfilter", &topic);
                assert_eq!((receive, subscribe), (allowed, allowed), "{topic}");
            }
        }
        assert!(!allows(
            &document,
            "iot:Subscribe",
            "topicfilter",
            "lamplighter/things/+/certificate/renew"
        ));
    }
}
