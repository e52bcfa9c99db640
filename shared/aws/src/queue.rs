//! Messages of a queue, and which of them are to come again.

use serde::{Deserialize, Serialize};

/// What Lambda hands over of a queue ("Using Lambda with Amazon SQS", AWS
/// Lambda Developer Guide).
#[derive(Clone, Debug, Deserialize)]
pub struct Batch {
    /// The messages.
    #[serde(rename = "Records")]
    pub records: Vec<Message>,
}

/// One message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id in the queue.
    pub message_id: String,
    /// What was sent.
    pub body: String,
}

/// The messages that failed; all others are taken out of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// One by one.
    pub batch_item_failures: Vec<Item>,
}

/// One that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The message's id.
    pub item_identifier: String,
}

impl FromIterator<String> for Failed {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        let item = |item_identifier| Item { item_identifier };
        Self {
            batch_item_failures: ids.into_iter().map(item).collect(),
        }
    }
}
