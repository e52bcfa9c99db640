//! S3 and Step Functions, as far as a deletion calls.

use std::fmt::Write as _;

use aws_smithy_types::body::SdkBody;
use http::Response;
use serde_json::{Value, json};

use crate::call::Call;
use crate::cloud::{REGION, World, error, ok, respond};

impl World {
    pub(crate) fn start_execution(&mut self, call: &Call) -> Response<SdkBody> {
        let name = call.body["name"].as_str().unwrap().to_owned();
        let input: Value = serde_json::from_str(call.body["input"].as_str().unwrap()).unwrap();
        match self.executions_started.get(&name) {
            Some(earlier) if *earlier != input => return error(400, "ExecutionAlreadyExists"),
            _ => {}
        }
        let arn = format!("arn:aws:states:{REGION}:123456789012:execution:delete-device:{name}");
        self.executions_started.insert(name, input);
        ok(&json!({ "executionArn": arn, "startDate": 1 }))
    }

    pub(crate) fn list_versions(&self, call: &Call) -> Response<SdkBody> {
        let (bucket, prefix) = (&call.path[0], &call.query["prefix"]);
        let after = call
            .query
            .get("version-id-marker")
            .cloned()
            .unwrap_or_default();
        let found: Vec<_> = self
            .versions
            .iter()
            .filter(|(b, key, id)| b == bucket && key.starts_with(prefix.as_str()) && *id > after)
            .collect();
        let mut answer = String::from("<ListVersionsResult>");
        if let Some((_, key, id)) = found.first() {
            // A delete marker now and then, which is listed apart.
            let tag = if id.ends_with('2') {
                "DeleteMarker"
            } else {
                "Version"
            };
            let _ = write!(
                answer,
                "<{tag}><Key>{key}</Key><VersionId>{id}</VersionId></{tag}>"
            );
            let _ = write!(answer, "<IsTruncated>{}</IsTruncated>", found.len() > 1);
            let _ = write!(answer, "<NextKeyMarker>{key}</NextKeyMarker>");
            let _ = write!(answer, "<NextVersionIdMarker>{id}</NextVersionIdMarker>");
        }
        respond(200, answer + "</ListVersionsResult>")
    }

    pub(crate) fn delete_versions(&mut self, call: &Call) -> Response<SdkBody> {
        let bucket = &call.path[0];
        for object in call.text.split("<Object>").skip(1) {
            let between = |open: &str, close: &str| {
                let start = object.find(open).unwrap() + open.len();
                object[start..object.find(close).unwrap()].to_owned()
            };
            let (key, id) = (
                between("<Key>", "</Key>"),
                between("<VersionId>", "</VersionId>"),
            );
            if !self.is_immortal(&format!("version:{bucket}/{id}")) {
                self.versions.remove(&(bucket.clone(), key, id));
            }
        }
        respond(200, "<DeleteResult></DeleteResult>")
    }
}
