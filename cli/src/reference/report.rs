//! What a street light says of itself: its shadow, and its telemetry.

use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;
use serde_json::{Value, json};

/// AWS IoT Core Developer Guide, "Device Shadow MQTT topics".
pub(super) fn shadow_topic(thing: &ThingName) -> String {
    format!("$aws/things/{thing}/shadow/update")
}

/// Where telemetry goes.
pub(super) fn telemetry_topic(thing: &ThingName) -> String {
    format!("lamplighter/things/{thing}/telemetry")
}

/// The state that the device reports.
pub(super) fn shadow(firmware_version: &str, certificate: &CertificateId, uptime: u64) -> Value {
    json!({
        "state": {
            "reported": {
                "firmware_version": firmware_version,
                "certificateId": certificate,
                "uptimeSeconds": uptime,
            },
        },
    })
}

/// One measurement. The sequence has no holes, so that a reader sees what was
/// lost.
pub(super) fn telemetry(sequence: u64, certificate: &CertificateId, at: Moment) -> Value {
    json!({
        "sequence": sequence,
        "at": at,
        "certificateId": certificate,
        "lit": true,
    })
}
