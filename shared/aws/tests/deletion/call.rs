//! One request, taken apart.

use std::collections::BTreeMap;

use aws_smithy_types::body::SdkBody;
use http::Request;
use serde_json::Value;

/// One request, taken apart.
pub(crate) struct Call {
    pub(crate) name: String,
    /// The segments of the path, decoded.
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) principal: String,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn of(request: &Request<SdkBody>) -> Self {
        let header = |name: &str| {
            let value = request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let host = request.uri().host().unwrap_or_default().to_owned();
        let path = request
            .uri()
            .path()
            .split('/')
            .skip(1)
            .map(decode)
            .collect::<Vec<_>>();
        let query = request.uri().query().unwrap_or_default().split('&');
        let query: BTreeMap<_, _> = query
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), decode(value)))
            .collect();
        let bytes = request.body().bytes().unwrap_or_default();
        let target = header("x-amz-target");
        let name = match target.rsplit_once('.') {
            Some((_, operation)) => operation.to_owned(),
            None if host.starts_with("s3.") && query.contains_key("versions") => {
                "ListObjectVersions".to_owned()
            }
            None if host.starts_with("s3.") => "DeleteObjects".to_owned(),
            None => crate::iot::operation(request.method().as_str(), &path),
        };
        Self {
            name,
            path,
            query,
            principal: header("x-amzn-principal"),
            body: serde_json::from_slice(bytes).unwrap_or_default(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| std::str::from_utf8(&others[..2]).unwrap());
        bytes.push(escaped.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if escaped.is_some() {
            &others[2..]
        } else {
            others
        };
    }
    String::from_utf8(bytes).unwrap()
}
