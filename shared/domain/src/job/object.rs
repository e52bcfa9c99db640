//! What a job document names in S3: placeholders that AWS IoT replaces by a
//! presigned URL each time a device asks for the document ("Presigned URLs",
//! AWS IoT Core Developer Guide).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::quote::quoted;

/// An object in S3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct S3Object {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

const V1: &str = "aws:iot:s3-presigned-url:";
const V2: &str = "aws:iot:s3-presigned-url-v2:";
const REMEDY: &str = "Write ${aws:iot:s3-presigned-url-v2:https://s3.REGION.amazonaws.com/BUCKET/KEY}, or declare a parameter of type s3.";

impl S3Object {
    /// Reads `s3://bucket/key`.
    ///
    /// # Errors
    /// `Invalid` for `path`.
    pub fn parse(path: &str, uri: &str) -> Result<Self, Failure> {
        let parts = uri
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'));
        parts
            .and_then(|(bucket, key)| Self::new(bucket, key))
            .ok_or_else(|| {
                Failure::invalid(
                    path,
                    format!("{} is no object in S3", quoted(uri)),
                    "Write s3://BUCKET/KEY.",
                )
            })
    }

    /// Bucket names as S3 has them ("Bucket naming rules", Amazon S3 User
    /// Guide); of keys what a placeholder can hold.
    fn new(bucket: &str, key: &str) -> Option<Self> {
        let good_bucket = (3..=63).contains(&bucket.len())
            && bucket.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && !bucket.contains("..")
            && bucket
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'));
        let good_key = (1..=1024).contains(&key.len())
            && !key.split('/').any(|part| part == "..")
            && !key.contains(|c: char| c.is_control() || matches!(c, '{' | '}' | '?' | '#' | ' '));
        (good_bucket && good_key).then(|| Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The placeholder that AWS IoT replaces by a URL of this object.
    pub fn placeholder(&self, region: &str) -> String {
        let Self { bucket, key } = self;
        format!("${{{V2}https://s3.{region}.amazonaws.com/{bucket}/{key}}}")
    }
}

impl std::fmt::Display for S3Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// The objects that an argument names.
///
/// # Errors
/// `Invalid` for a placeholder that AWS IoT would not replace: the device would
/// get it as it stands.
pub(super) fn objects_in(path: &str, arg: &str) -> Result<BTreeSet<S3Object>, Failure> {
    let mut objects = BTreeSet::new();
    for piece in arg.split("${").skip(1) {
        let inside = piece.split_once('}').map(|(inside, _)| inside);
        let object = inside.and_then(|inside| match inside.strip_prefix(V2) {
            Some(url) => of_url(url, true),
            None => of_url(inside.strip_prefix(V1)?, false),
        });
        objects.insert(object.ok_or_else(|| {
            Failure::invalid(
                path,
                format!(
                    "nothing replaces the placeholder {}",
                    quoted(inside.unwrap_or(piece))
                ),
                REMEDY,
            )
        })?);
    }
    Ok(objects)
}

/// The second version names the region, the first need not name a host.
fn of_url(url: &str, regional: bool) -> Option<S3Object> {
    let path = match url.strip_prefix("https://") {
        Some(rest) => {
            let (host, path) = rest.split_once('/')?;
            let region = host
                .strip_suffix(".amazonaws.com.cn")
                .or_else(|| host.strip_suffix(".amazonaws.com"))?
                .strip_prefix("s3")?
                .strip_prefix('.');
            (region.is_some() || !regional).then_some(path)?
        }
        None if regional => return None,
        None => url,
    };
    let (bucket, key) = path.split_once('/')?;
    S3Object::new(bucket, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arg: &str, found: Option<&[&str]>) {
        let objects = objects_in("args", arg);
        let names = |set: BTreeSet<S3Object>| set.iter().map(S3Object::to_string).collect();
        let objects: Option<Vec<String>> = objects.ok().map(names);
        let found = found.map(|found| found.iter().map(ToString::to_string).collect());
        assert_eq!(objects, found, "{arg}");
    }

    #[test]
    fn placeholders() {
        check("--force", Some(&[]));
        check(
            "${aws:iot:s3-presigned-url:fleet/a/b.bin}",
            Some(&["s3://fleet/a/b.bin"]),
        );
        check(
            "${aws:iot:s3-presigned-url:https://s3.amazonaws.com/fleet/b}",
            Some(&["s3://fleet/b"]),
        );
        check(
            "x=${aws:iot:s3-presigned-url-v2:https://s3.eu-south-1.amazonaws.com/fleet/b},${aws:iot:s3-presigned-url:fleet/c}",
            Some(&["s3://fleet/b", "s3://fleet/c"]),
        );
        for refused in [
            "${aws:iot:s3-presigned-url-v2:fleet/b}",
            "${aws:iot:s3-presigned-url-v2:https://s3.amazonaws.com/fleet/b}",
            "${aws:iot:s3-presigned-url-v2:https://example.com/fleet/b}",
            "${aws:iot:s3-presigned-url:fleet}",
            "${aws:iot:s3-presigned-url:fleet/../b}",
            "${aws:iot:s3-presigned-url:fleet/b",
            "${aws:iot:parameter:x}",
            "${HOME}",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn an_object_is_found_in_its_own_placeholder() {
        let object = S3Object::parse("image", "s3://fleet/firmware/2.4.0.bin").unwrap();
        let found = objects_in("args", &object.placeholder("eu-south-1")).unwrap();
        assert_eq!(found, BTreeSet::from([object]));
        for uri in [
            "s3://fleet",
            "s3://fleet/",
            "s3://A/b",
            "https://fleet/b",
            "s3://fleet/a}b",
        ] {
            assert!(S3Object::parse("image", uri).is_err(), "{uri}");
        }
    }
}
