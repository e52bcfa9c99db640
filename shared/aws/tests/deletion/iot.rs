//! AWS IoT's control plane, data plane and tunnels, as far as a deletion calls.

use aws_smithy_types::body::SdkBody;
use http::Response;
use serde_json::{Value, json};

use crate::call::Call;
use crate::cloud::{CERTIFICATES_END, World, arn, error, ok};

/// The operation that a method and path mean.
pub(crate) fn operation(method: &str, path: &[String]) -> String {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let name = match (method, path.as_slice()) {
        ("GET", ["things", _]) => "DescribeThing",
        ("DELETE", ["things", _]) => "DeleteThing",
        ("GET", ["things", _, "principals"]) => "ListThingPrincipals",
        ("DELETE", ["things", _, "principals"]) => "DetachThingPrincipal",
        ("GET", ["principals", "things"]) => "ListPrincipalThings",
        ("GET", ["things", _, "thing-groups"]) => "ListThingGroupsForThing",
        ("PUT", ["thing-groups", "removeThingFromThingGroup"]) => "RemoveThingFromThingGroup",
        ("GET", ["things", _, "jobs"]) => "ListJobExecutionsForThing",
        ("PUT", ["things", _, "jobs", _, "cancel"]) => "CancelJobExecution",
        ("GET", ["certificates"]) => "ListCertificates",
        ("GET", ["certificates", _]) => "DescribeCertificate",
        ("PUT", ["certificates", _]) => "UpdateCertificate",
        ("DELETE", ["certificates", _]) => "DeleteCertificate",
        ("GET", ["things", _, "shadow"]) => "GetThingShadow",
        ("DELETE", ["things", _, "shadow"]) => "DeleteThingShadow",
        ("GET", ["api", "things", "shadow", "ListNamedShadowsForThing", _]) => {
            "ListNamedShadowsForThing"
        }
        ("GET", ["retainedMessage", _]) => "GetRetainedMessage",
        ("POST", ["topics", _]) => "Publish",
        ("GET", ["connections", _]) => "GetConnection",
        ("DELETE", ["connections", _]) => "DeleteConnection",
        other => panic!("no such operation: {other:?}"),
    };
    name.to_owned()
}

fn not_found() -> Response<SdkBody> {
    error(404, "ResourceNotFoundException")
}

/// One item a page. The token is the number of the next item.
fn paged(call: &Call, items: Vec<Value>, field: &str, token_field: &str) -> Response<SdkBody> {
    let sent = call
        .query
        .get("nextToken")
        .or(call.query.get("marker"))
        .cloned();
    let sent = sent.or(call.body["nextToken"].as_str().map(str::to_owned));
    let start: usize = sent.map_or(0, |token| token.parse().unwrap());
    let more = start + 1 < items.len();
    let shown: Vec<_> = items.into_iter().skip(start).take(1).collect();
    let mut answer = json!({ field: shown });
    if more {
        answer[token_field] = (start + 1).to_string().into();
    }
    ok(&answer)
}

impl World {
    pub(crate) fn iot_call(&mut self, call: &Call) -> Response<SdkBody> {
        let part = |n: usize| call.path.get(n).cloned().unwrap_or_default();
        match call.name.as_str() {
            "DescribeThing"
            | "DeleteThing"
            | "ListThingPrincipals"
            | "DetachThingPrincipal"
            | "ListThingGroupsForThing"
            | "ListJobExecutionsForThing"
            | "CancelJobExecution" => self.thing_call(call, &part(1)),
            "DescribeCertificate" | "UpdateCertificate" | "DeleteCertificate" => {
                self.certificate_call(call, &part(1))
            }
            "ListCertificates" => {
                let items = self.certificates.keys().map(|id| {
                    json!({ "certificateId": id, "certificateArn": arn(id), "creationDate": 1_000_000 })
                });
                paged(call, items.collect(), "certificates", "nextMarker")
            }
            "ListPrincipalThings" => {
                let having = self
                    .principals
                    .iter()
                    .filter(|(_, all)| all.contains(&call.principal));
                paged(
                    call,
                    having.map(|(thing, _)| json!(thing)).collect(),
                    "things",
                    "nextToken",
                )
            }
            "RemoveThingFromThingGroup" => {
                let thing = call.body["thingName"].as_str().unwrap();
                if let Some(groups) = self.groups.get_mut(thing) {
                    groups.remove(call.body["thingGroupName"].as_str().unwrap());
                }
                ok(&json!({}))
            }
            "ListTunnels" => {
                let theirs = self
                    .tunnels
                    .iter()
                    .filter(|(_, thing)| call.body["thingName"] == **thing);
                let items = theirs
                    .map(|(id, _)| json!({ "tunnelId": id, "status": "OPEN" }))
                    .collect();
                paged(call, items, "tunnelSummaries", "nextToken")
            }
            "CloseTunnel" => {
                let id = call.body["tunnelId"].as_str().unwrap().to_owned();
                if !self.is_immortal(&format!("tunnel:{id}")) {
                    self.tunnels.remove(&id);
                }
                ok(&json!({}))
            }
            _ => self.data_call(call, &part(1)),
        }
    }

    fn thing_call(&mut self, call: &Call, thing: &str) -> Response<SdkBody> {
        if !self.things.contains(thing) {
            return not_found();
        }
        match call.name.as_str() {
            "DescribeThing" => ok(&json!({ "thingName": thing, "billingGroupName": "billing" })),
            "DeleteThing" => {
                if !self
                    .principals
                    .get(thing)
                    .is_none_or(std::collections::BTreeSet::is_empty)
                    || self.is_settling()
                {
                    return error(400, "InvalidRequestException");
                }
                if !self.is_immortal("thing") {
                    self.things.remove(thing);
                }
                ok(&json!({}))
            }
            "ListThingPrincipals" => {
                let items = self
                    .principals
                    .get(thing)
                    .into_iter()
                    .flatten()
                    .map(|p| json!(p));
                paged(call, items.collect(), "principals", "nextToken")
            }
            "DetachThingPrincipal" => {
                let id = call.principal.rsplit('/').next().unwrap().to_owned();
                if !self.is_immortal(&format!("attachment:{id}")) {
                    self.principals
                        .get_mut(thing)
                        .unwrap()
                        .remove(&call.principal);
                }
                ok(&json!({}))
            }
            "ListThingGroupsForThing" => {
                let items = self.groups.get(thing).into_iter().flatten();
                paged(
                    call,
                    items.map(|g| json!({ "groupName": g })).collect(),
                    "thingGroups",
                    "nextToken",
                )
            }
            "ListJobExecutionsForThing" => {
                let wanted = &call.query["status"];
                let items = self
                    .executions
                    .iter()
                    .filter(|((t, _), status)| t == thing && *status == wanted)
                    .map(|((_, job), _)| json!({ "jobId": job }));
                paged(call, items.collect(), "executionSummaries", "nextToken")
            }
            _ => {
                let job = &call.path[3];
                if !self.is_immortal(&format!("execution:{job}")) {
                    self.executions
                        .insert((thing.to_owned(), job.clone()), "CANCELED".to_owned());
                }
                ok(&json!({}))
            }
        }
    }

    fn is_settling(&mut self) -> bool {
        let settling = self.settling > 0;
        self.settling = self.settling.saturating_sub(1);
        settling
    }

    fn certificate_call(&mut self, call: &Call, id: &str) -> Response<SdkBody> {
        let Some(state) = self.certificates.get(id).cloned() else {
            return not_found();
        };
        match call.name.as_str() {
            "DescribeCertificate" => ok(&json!({ "certificateDescription": {
                "certificateId": id, "certificateArn": arn(id), "status": state,
                "certificatePem": self.pems.get(id), "validity": { "notAfter": CERTIFICATES_END },
            }})),
            "UpdateCertificate" => {
                self.certificates
                    .insert(id.to_owned(), call.query["newStatus"].clone());
                ok(&json!({}))
            }
            _ => {
                let attached = self.principals.values().any(|all| all.contains(&arn(id)));
                if attached || self.is_settling() {
                    return error(409, "DeleteConflictException");
                }
                if state == "ACTIVE" {
                    return error(406, "CertificateStateException");
                }
                self.certificates.remove(id);
                ok(&json!({}))
            }
        }
    }

    fn data_call(&mut self, call: &Call, subject: &str) -> Response<SdkBody> {
        let shadow = (
            subject.to_owned(),
            call.query.get("name").cloned().unwrap_or_default(),
        );
        match call.name.as_str() {
            "GetThingShadow" if self.shadows.contains(&shadow) => ok(&json!({ "state": {} })),
            "DeleteThingShadow" => {
                if !self.is_immortal(&format!("shadow:{}", shadow.1))
                    && !self.shadows.remove(&shadow)
                {
                    return not_found();
                }
                ok(&json!({}))
            }
            "ListNamedShadowsForThing" => {
                let thing = &call.path[4];
                let named = self
                    .shadows
                    .iter()
                    .filter(|(t, name)| t == thing && !name.is_empty());
                paged(
                    call,
                    named.map(|(_, name)| json!(name)).collect(),
                    "results",
                    "nextToken",
                )
            }
            "GetRetainedMessage" if self.retained.contains(subject) => {
                ok(&json!({ "topic": subject }))
            }
            "Publish" => {
                assert_eq!(call.query["retain"], "true");
                assert!(call.text.is_empty());
                if !self.is_immortal(&format!("retained:{subject}")) {
                    self.retained.remove(subject);
                }
                ok(&json!({}))
            }
            "GetConnection" if self.connected.contains(subject) => {
                ok(&json!({ "connected": true }))
            }
            "DeleteConnection" => {
                if !self.is_immortal("connection") && !self.connected.remove(subject) {
                    return not_found();
                }
                ok(&json!({}))
            }
            _ => not_found(),
        }
    }
}
