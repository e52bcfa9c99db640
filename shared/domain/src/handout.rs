//! Handing a vault key out: once, and recorded.

use serde::{Deserialize, Serialize};

use crate::device::{Custody, DeviceRecord, DeviceStatus};
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::names::{CertificateId, OperationId, ThingName};
use crate::request::one_key;
use crate::rotation::{Phase, Rotation};
use crate::time::Moment;

/// For how long the same caller with the same key gets the same answer again.
pub const REPLAY_MILLIS: u64 = 15 * 60 * 1000;

/// The record of a hand-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandOut {
    /// Who asked: the caller's ARN.
    pub caller: String,
    /// When.
    pub at: Moment,
    /// SHA-256 of the idempotency key, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_digest: Option<String>,
}

/// What to do about a request for a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Record this hand-out, on the condition that none is there; then answer.
    Record(HandOut),
    /// The same caller asks again with the same key: answer again.
    Replay,
}

/// A request's body, and its header `Idempotency-Key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Makes the same caller's repetition the same request.
    pub idempotency_key: Option<String>,
    /// Whether only a pair of a renewal will do: whoever has the present one
    /// has no use for it, and would spend its hand-out.
    pub renewal: bool,
}

impl Request {
    /// Reads a body, which may be empty.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8], header: Option<&str>) -> Result<Self, Failure> {
        let (mut in_body, mut renewal) = (None, false);
        if !body.is_empty() {
            let remedy = "Send none, or JSON: {\"renewal\"?: true, \"idempotencyKey\"?: …}.";
            let mut fields = Fields::parse(body, remedy)?;
            in_body = fields.text("idempotencyKey")?;
            renewal = fields.flag("renewal")?;
            fields.end()?;
        }
        Ok(Self {
            idempotency_key: one_key(in_body.as_deref(), header)?,
            renewal,
        })
    }
}

/// The pair that a request for a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its certificate.
    pub certificate_id: CertificateId,
    /// The rotation in which the device is to prove it.
    pub rotation_id: Option<OperationId>,
}

/// Which of a device's pairs can be had. While a pair that was made here awaits
/// its proof that is the new one, and the old one is not to be had: whoever
/// asks now needs what the device is to have next. Should it come to nothing,
/// the old one can be had again as before.
///
/// # Errors
/// `NotFound` without such a device, `Conflict` if it made its key itself or is
/// not ACTIVE or `renewal` is asked for and there is none, `Busy` while the pair
/// is being made, `NotFound` with 410 once the device has proved that it has the
/// key.
pub fn offer(
    name: &ThingName,
    device: Option<&DeviceRecord>,
    rotation: Option<&Rotation>,
    renewal: bool,
) -> Result<Offer, Failure> {
    let device = device.ok_or_else(|| DeviceRecord::absent(name))?;
    in_service(name, device)?;
    if let Some(offer) = rotation.map(of_rotation).transpose()?.flatten() {
        return Ok(offer);
    }
    if renewal {
        return Err(Failure::conflict(
            "renewal",
            format!("no pair of a renewal of {name} awaits its proof"),
            "Renew the device with custody vault first.",
        ));
    }
    if device.custody == Custody::Device {
        return Err(Failure::conflict(
            "thingName",
            format!("the device {name} made its own key; nobody else has it"),
            "Take the key from the device, or renew it with custody vault.",
        ));
    }
    let id = device.certificate_id.clone();
    Ok(Offer {
        certificate_id: id
            .ok_or_else(|| Failure::bug(format!("{name} is ACTIVE without a certificate")))?,
        rotation_id: None,
    })
}

fn in_service(name: &ThingName, device: &DeviceRecord) -> Result<(), Failure> {
    match device.status {
        DeviceStatus::Active => Ok(()),
        DeviceStatus::Creating => {
            Err(Failure::busy("the device is being created", 2).field("thingName"))
        }
        DeviceStatus::Deleting | DeviceStatus::Stuck => Err(Failure::conflict(
            "thingName",
            format!("the device {name} is {}", device.status.name()),
            "Only an ACTIVE device's key is handed out.",
        )),
    }
}

/// What a rotation by hand-out has to offer, should there be one.
fn of_rotation(rotation: &Rotation) -> Result<Option<Offer>, Failure> {
    if !rotation.by_hand_out() {
        return Ok(None);
    }
    match rotation.phase {
        Phase::Requested | Phase::Issuing => {
            Err(Failure::busy("the device's new certificate is being made", 2).field("thingName"))
        }
        Phase::Issued | Phase::Retiring if rotation.proven_at.is_some() => Err(had()),
        Phase::Issued => Ok(rotation.new_id().map(|id| Offer {
            certificate_id: id.clone(),
            rotation_id: Some(rotation.rotation_id.clone()),
        })),
        _ => Ok(None),
    }
}

/// The refusal of a key that is with its device, and not to be had again.
pub fn had() -> Failure {
    Failure::new(
        Kind::NotFound,
        "the private key has been handed out already",
        "If it was lost, renew the device with custody vault; with an Idempotency-Key the same \
         caller can ask again for 15 minutes, until the device has proved the key.",
    )
    .field("thingName")
    .status(410)
}

/// Decides by the record of an earlier hand-out, if there is one.
pub fn decide(
    earlier: Option<&HandOut>,
    caller: &str,
    idempotency_key: Option<&str>,
    now: Moment,
) -> Result<Decision, Failure> {
    let key_digest = idempotency_key.map(|key| crate::csr::sha256_hex(key.as_bytes()));
    let Some(earlier) = earlier else {
        return Ok(Decision::Record(HandOut {
            caller: caller.to_owned(),
            at: now,
            key_digest,
        }));
    };
    let same = key_digest.is_some() && earlier.key_digest == key_digest && earlier.caller == caller;
    if same && now < earlier.at.plus_millis(REPLAY_MILLIS) {
        return Ok(Decision::Replay);
    }
    Err(had())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T: Moment = Moment(1_000_000);

    fn after(first: Option<&str>, caller: &str, second: Option<&str>, later: u64) -> bool {
        let Ok(Decision::Record(record)) = decide(None, "alice", first, T) else {
            panic!()
        };
        let again = decide(Some(&record), caller, second, T.plus_millis(later));
        if let Err(failure) = &again {
            assert_eq!(failure.http_status(), 410);
        }
        again == Ok(Decision::Replay)
    }

    #[test]
    fn strictly_once_without_a_key_and_replayed_with_one() {
        assert!(!after(None, "alice", None, 1));
        assert!(!after(None, "alice", Some("k"), 1));
        assert!(!after(Some("k"), "alice", None, 1));
        assert!(after(Some("k"), "alice", Some("k"), 1));
        assert!(!after(Some("k"), "alice", Some("l"), 1));
        assert!(!after(Some("k"), "mallory", Some("k"), 1));
        assert!(after(Some("k"), "alice", Some("k"), REPLAY_MILLIS - 1));
        assert!(!after(Some("k"), "alice", Some("k"), REPLAY_MILLIS));
    }

    const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn device(custody: &str, status: &str) -> DeviceRecord {
        let id = OperationId::from_random([9; 16]);
        let record = json!({
            "thingName": "l", "attributes": {}, "groups": ["g"], "status": status,
            "custody": custody, "createdBy": id,
            "operationId": id, "createdAt": 1, "certificateId": OLD, "listingShard": "DEVICES#00",
        });
        serde_json::from_value(record).unwrap()
    }

    fn rotation(custody: &str, phase: &str, proven: Option<u64>) -> Rotation {
        let id = OperationId::from_random([1; 16]);
        let fixture = include_str!("../fixtures/rsa-2048.csr.pem");
        let csr = crate::csr::Csr::parse(fixture).unwrap();
        let row = json!({
            "rotationId": id, "thingName": "l", "phase": phase, "old": OLD, "issuer": "aws-iot",
            "custody": custody, "startedAt": 1, "deadline": 9, "leaseUntil": 0, "attempt": 1,
            "version": 1, "provenAt": proven,
            "windows": {"requestMillis": 1, "proofMillis": 1, "graceMillis": 1},
            "new": {"csr": csr, "mint": {
                "intendedAt": 1, "publicKey": csr.public_key(), "certificateId": NEW,
            }},
        });
        serde_json::from_value(row).unwrap()
    }

    fn check(device: Option<&DeviceRecord>, rotation: Option<&Rotation>, expected: &str) {
        let name = ThingName::parse("l").unwrap();
        let renewal = offer(&name, device, rotation, true);
        let found = match offer(&name, device, rotation, false) {
            Ok(offer) => {
                let new = offer.certificate_id.as_str() == NEW;
                assert_eq!(renewal.is_ok(), new, "of a renewal");
                assert_eq!(
                    offer.rotation_id.is_some(),
                    new,
                    "only the new one is to be proved"
                );
                (if new { "new" } else { "old" }).to_owned()
            }
            Err(failure) => failure.http_status().to_string(),
        };
        assert_eq!(found, expected, "{device:?} {rotation:?}");
    }

    #[test]
    fn which_pair_can_be_had() {
        let vault = device("vault", "ACTIVE");
        check(None, None, "404");
        check(Some(&vault), None, "old");
        check(Some(&device("device", "ACTIVE")), None, "409");
        check(Some(&device("vault", "CREATING")), None, "503");
        check(Some(&device("vault", "DELETING")), None, "409");
        let by_csr = rotation("device", "ISSUED", None);
        check(Some(&vault), Some(&by_csr), "old");
        let by_hand_out = |phase, proven| rotation("vault", phase, proven);
        for device in [&vault, &device("device", "ACTIVE")] {
            check(Some(device), Some(&by_hand_out("REQUESTED", None)), "503");
            check(Some(device), Some(&by_hand_out("ISSUING", None)), "503");
            check(Some(device), Some(&by_hand_out("ISSUED", None)), "new");
            check(Some(device), Some(&by_hand_out("ISSUED", Some(5))), "410");
            check(Some(device), Some(&by_hand_out("RETIRING", Some(5))), "410");
        }
        for phase in ["WITHDRAWING", "ROLLED_BACK", "FENCED", "RETIRED", "DONE"] {
            check(Some(&vault), Some(&by_hand_out(phase, None)), "old");
        }
        let gone = device("vault", "DELETING");
        check(Some(&gone), Some(&by_hand_out("ISSUED", None)), "409");
    }

    #[test]
    fn a_request_may_be_empty_and_may_want_a_renewal_only() {
        let check = |body: &str,
                     header: Option<&str>,
                     expected: Result<(Option<&str>, bool), &str>| {
            let request = Request::parse(body.as_bytes(), header);
            let found = request
                .as_ref()
                .map_err(|failure| failure.field.as_deref().unwrap());
            let found = found.map(|request| (request.idempotency_key.as_deref(), request.renewal));
            assert_eq!(found, expected, "{body}");
        };
        check("", Some("k"), Ok((Some("k"), false)));
        check(r#"{"renewal": true}"#, None, Ok((None, true)));
        check(r#"{"idempotencyKey": "k"}"#, None, Ok((Some("k"), false)));
        check(r#"{"renewal": "yes"}"#, None, Err("renewal"));
        check(r#"{"all": true}"#, None, Err("body"));
    }
}
