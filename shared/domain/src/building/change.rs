//! What a group's followers read: each enter and leave, as the bus has it, for a
//! day.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::announcement::{Announcement, SOURCE};
use crate::failure::Failure;
use crate::listing::{USUAL, decoded, from_cursor, once, read_limit, to_cursor};
use crate::names::GroupName;
use crate::time::Moment;

/// For how long a change can be read.
pub const KEPT_SECONDS: u64 = 24 * 60 * 60;
/// What is younger may still be joined by something older, so it is told again.
const UNSETTLED_MILLIS: u64 = 10_000;

/// `GROUP#group#NN / CHANGE#time#id`: one enter or leave. It is written in one
/// transaction with the member's row, so it is told as often as it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRow {
    /// `GroupEntered` or `GroupLeft`.
    pub detail_type: String,
    /// When it happened.
    pub at: Moment,
    /// The event's detail, as the bus has it.
    pub detail: String,
    /// When the row may go, in seconds since 1970 (the table's time to live).
    pub expires_at: u64,
}

/// One change, and by what it is sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it was written, and its id.
    pub key: String,
    /// What happened.
    pub row: ChangeRow,
}

impl Change {
    /// An announcement, as of now.
    pub fn new(announced: &Announcement, now: Moment) -> Self {
        Self {
            key: key(now, announced.id()),
            row: ChangeRow {
                detail_type: announced.detail_type.to_owned(),
                at: announced.at(),
                detail: serde_json::to_string(&announced.detail).unwrap_or_default(),
                expires_at: now.epoch_seconds() + KEPT_SECONDS,
            },
        }
    }

    /// As `EventBridge` delivers it.
    fn event(&self) -> Value {
        let detail: Map<String, Value> = serde_json::from_str(&self.row.detail).unwrap_or_default();
        json!({
            "source": SOURCE,
            "detail-type": self.row.detail_type,
            "time": self.row.at.rfc3339(),
            "detail": detail,
        })
    }
}

/// Keys sort by time, as long as its milliseconds have no more digits.
fn key(at: Moment, id: &str) -> String {
    format!("{:015}#{id}", at.0)
}

/// Which changes of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeQuery {
    /// The largest page.
    pub limit: usize,
    position: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    #[serde(rename = "g")]
    group: GroupName,
    /// Nothing before this is told.
    #[serde(rename = "s")]
    since: Moment,
    /// The key of the last that was told for good.
    #[serde(rename = "a")]
    after: String,
}

impl ChangeQuery {
    /// Reads a query string. Without a cursor or a time it is about what happens
    /// from now on.
    ///
    /// # Errors
    /// `Invalid` for what it does not know.
    pub fn parse(query: &str, group: &GroupName, now: Moment) -> Result<Self, Failure> {
        let (mut limit, mut since, mut position) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "limit" => once(name, &mut limit, read_limit(&value)?)?,
                "since" => once(name, &mut since, read_since(&value)?)?,
                "cursor" => once(name, &mut position, read_cursor(&value, group)?)?,
                _ => {
                    return Err(Failure::invalid(
                        name,
                        format!("changes cannot be asked for by {name}"),
                        "Use limit, since and cursor.",
                    ));
                }
            }
        }
        let since = since.unwrap_or(now);
        Ok(Self {
            limit: limit.unwrap_or(USUAL),
            position: position.unwrap_or_else(|| Position {
                group: group.clone(),
                since,
                after: key(since, ""),
            }),
        })
    }

    /// The key after which each partition is read.
    pub fn after(&self) -> &str {
        &self.position.after
    }

    /// The page, out of what each partition has: one more than a page, or all.
    /// There is always a cursor to go on with.
    pub fn page(&self, mut found: Vec<Change>, now: Moment) -> Value {
        found.sort_by(|a, b| a.key.cmp(&b.key));
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().map_or(self.after(), |change| &change.key);
        let settled = key(now.minus_millis(UNSETTLED_MILLIS), "");
        let position = Position {
            after: if more || *last < *settled {
                last.to_owned()
            } else {
                settled.max(key(self.position.since, ""))
            },
            ..self.position.clone()
        };
        let items: Vec<_> = found.iter().map(Change::event).collect();
        json!({ "items": items, "nextCursor": to_cursor(&position), "more": more })
    }
}

fn read_since(text: &str) -> Result<Moment, Failure> {
    text.parse().map(Moment).map_err(|_| {
        Failure::invalid(
            "since",
            "since is no moment",
            "Give milliseconds since 1970-01-01.",
        )
    })
}

fn read_cursor(text: &str, group: &GroupName) -> Result<Position, Failure> {
    from_cursor::<Position>(text)
        .filter(|position| position.group == *group)
        .ok_or_else(|| {
            Failure::invalid(
                "cursor",
                "it is no cursor of this group's changes",
                "Send the nextCursor of the page before, or none.",
            )
        })
}
