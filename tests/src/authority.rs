//! The certificate authority under test, and openssl's opinion of what it signs.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};
use crate::delivery::deliver;
use crate::device::unique;

/// Makes sure that there is an authority; answers the active one.
pub async fn ready(cloud: &Cloud) -> Value {
    let ask = Ask::new("POST", "/authorities").text(json!({"subject": "Test lights"}).to_string());
    let reply = deliver(cloud, &ask).await;
    assert!(matches!(reply.status, 200 | 201), "{}", reply.text);
    reply.json()
}

/// The authorities that are valid, newest first.
pub async fn listed(cloud: &Cloud) -> Vec<Value> {
    let answer = cloud
        .api(&Ask::new("GET", "/authorities"))
        .await
        .expect(200);
    answer["items"].as_array().expect("items").clone()
}

/// Whether openssl accepts a device's certificate under an authority's, by the
/// letter of RFC 5280.
pub fn openssl_accepts(authority_pem: &str, certificate_pem: &str) -> bool {
    let [authority, certificate] = [authority_pem, certificate_pem].map(kept);
    let ran = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
        .args([&authority, &certificate])
        .output()
        .expect("openssl, from Debian's package of that name");
    for file in [authority, certificate] {
        let _ = std::fs::remove_file(file);
    }
    ran.status.success()
}

fn kept(pem: &str) -> PathBuf {
    let path = std::env::temp_dir().join(unique("pem"));
    std::fs::write(&path, pem).expect("a writable temporary directory");
    path
}
