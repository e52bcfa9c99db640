//! Handing a vault key out: once, and recorded.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};
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
    Err(Failure::new(
        Kind::NotFound,
        "the private key has been handed out already",
        "If it was lost, delete the device and create it anew; with an Idempotency-Key the same \
         caller can ask again for 15 minutes.",
    )
    .field("thingName")
    .status(410))
}

#[cfg(test)]
mod tests {
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
}
