//! Whether a device is connected, from events that come twice and in any order.
//!
//! An event's version starts anew once a device was offline for long ("Lifecycle
//! events", AWS IoT Core Developer Guide), so it orders nothing. Within one
//! session the disconnection comes last; of several sessions, the one that began
//! last decides. A client id that is taken over ends its old session after the
//! new one began, so the old one has to be remembered for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::time::Moment;

/// How many sessions are remembered.
const MOST_SESSIONS: usize = 4;
/// Why a session ends whose client id another one has taken.
const TAKEN_OVER: &str = "DUPLICATE_CLIENTID";

/// What is known of a device's last sessions, by their identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Presence {
    sessions: BTreeMap<String, Session>,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connected_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Ended {
    at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What one event says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// The session's identifier.
    pub session: String,
    /// When it happened.
    pub at: Moment,
    /// Whether the session began, or ended and why.
    pub what: Happened,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It began.
    Connected,
    /// It ended, for AWS's reason.
    Disconnected(Option<String>),
}

impl Session {
    /// When it began, as far as that is known. A session that was taken over
    /// began before another one did, whenever its end was noticed.
    fn began(&self) -> Moment {
        let ended = self.ended.as_ref();
        self.connected_at.unwrap_or_else(|| match ended {
            Some(ended) if ended.reason.as_deref() != Some(TAKEN_OVER) => ended.at,
            _ => Moment(0),
        })
    }
}

impl Presence {
    /// Takes an event in; false if it says nothing new.
    pub fn take(&mut self, event: Lifecycle) -> bool {
        let before = self.clone();
        let session = self.sessions.entry(event.session).or_default();
        match event.what {
            Happened::Connected => session.connected_at = Some(event.at),
            Happened::Disconnected(reason) => {
                let ended = Ended {
                    at: event.at,
                    reason,
                };
                session.ended = session.ended.take().max(Some(ended));
            }
        }
        while self.sessions.len() > MOST_SESSIONS {
            let oldest = self.in_order().next().map(|(id, _)| id.clone());
            self.sessions.retain(|id, _| Some(id) != oldest.as_ref());
        }
        *self != before
    }

    /// The sessions, the one that began last at the end.
    fn in_order(&self) -> impl DoubleEndedIterator<Item = (&String, &Session)> {
        let mut sessions: Vec<_> = self.sessions.iter().collect();
        sessions.sort_by_key(|(id, session)| (session.began(), *id));
        sessions.into_iter()
    }

    /// The `connectivity` that queries are asked about. A device that never
    /// connected has no timestamp.
    pub(super) fn json(&self) -> Value {
        let Some((_, last)) = self.in_order().next_back() else {
            return json!({ "connected": false });
        };
        match &last.ended {
            None => json!({ "connected": true, "timestamp": last.connected_at }),
            Some(ended) => json!({
                "connected": false, "timestamp": ended.at, "disconnectReason": ended.reason,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happened::{Connected, Disconnected};

    /// Every order of the events, each of them twice, leads to this.
    fn check(events: &[(&str, u64, Happened)], expected: &Value) {
        let events: Vec<_> = events
            .iter()
            .map(|(session, at, what)| Lifecycle {
                session: (*session).to_owned(),
                at: Moment(*at),
                what: what.clone(),
            })
            .collect();
        each_order(events.len(), &mut |order| {
            let mut presence = Presence::default();
            for at in order.iter().chain(order) {
                presence.take(events[*at].clone());
            }
            assert_eq!(presence.json(), *expected, "{order:?} of {events:?}");
        });
    }

    fn each_order(many: usize, visit: &mut impl FnMut(&[usize])) {
        fn go(order: &mut Vec<usize>, many: usize, visit: &mut impl FnMut(&[usize])) {
            if order.len() == many {
                return visit(order);
            }
            for next in 0..many {
                if !order.contains(&next) {
                    order.push(next);
                    go(order, many, visit);
                    order.pop();
                }
            }
        }
        go(&mut Vec::new(), many, visit);
    }

    fn ended(reason: &str) -> Happened {
        Disconnected(Some(reason.to_owned()))
    }

    #[test]
    fn whatever_the_order_the_last_session_decides() {
        let lost = || ended("CONNECTION_LOST");
        let taken = || ended("DUPLICATE_CLIENTID");
        let on = |at: u64| json!({"connected": true, "timestamp": at});
        let off = |at: u64, why: &str| json!({"connected": false, "timestamp": at, "disconnectReason": why});
        check(&[], &json!({"connected": false}));
        check(&[("a", 5, Connected)], &on(5));
        check(&[("a", 5, lost())], &off(5, "CONNECTION_LOST"));
        check(
            &[("a", 5, Connected), ("a", 9, lost())],
            &off(9, "CONNECTION_LOST"),
        );
        // A connection that is lost at once may bear the same time.
        check(
            &[("a", 5, Connected), ("a", 5, lost())],
            &off(5, "CONNECTION_LOST"),
        );
        check(
            &[("a", 5, Connected), ("a", 9, lost()), ("b", 11, Connected)],
            &on(11),
        );
        // The old session of a client id that was taken over ends last.
        check(
            &[("a", 5, Connected), ("b", 9, Connected), ("a", 12, taken())],
            &on(9),
        );
        check(
            &[("a", 5, Connected), ("b", 9, Connected), ("a", 12, lost())],
            &on(9),
        );
        // Its beginning may have been lost altogether.
        check(&[("b", 9, Connected), ("a", 12, taken())], &on(9));
        check(
            &[("a", 5, Connected), ("b", 12, lost())],
            &off(12, "CONNECTION_LOST"),
        );
        check(
            &[
                ("a", 1, Connected),
                ("a", 6, taken()),
                ("b", 5, Connected),
                ("b", 8, taken()),
                ("c", 7, Connected),
                ("c", 9, lost()),
            ],
            &off(9, "CONNECTION_LOST"),
        );
    }

    #[test]
    fn few_sessions_are_remembered() {
        let mut presence = Presence::default();
        for at in 0..100 {
            let event = Lifecycle {
                session: format!("s{at}"),
                at: Moment(at),
                what: Connected,
            };
            assert!(presence.take(event.clone()));
            assert!(!presence.take(event));
        }
        assert_eq!(presence.sessions.len(), MOST_SESSIONS);
        assert_eq!(presence.json(), json!({"connected": true, "timestamp": 99}));
    }
}
