//! A tunnel as a caller sees it, and the pages of a device's.

use serde::Serialize;

use super::{Ending, Event, Status, Tunnel, TunnelId};
use crate::failure::Failure;
use crate::listing::{USUAL, decoded, once, read_limit};
use crate::names::ThingName;
use crate::time::Moment;

/// A tunnel. It has no token, because its record has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelView<'a> {
    tunnel_id: &'a TunnelId,
    thing_name: &'a ThingName,
    status: Status,
    services: Vec<&'a str>,
    minutes: u16,
    reason: &'a str,
    asked_by: &'a str,
    asked_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_tunnel_id: Option<&'a str>,
    /// Until when it waits for its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_until_deadline: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_at: Option<Moment>,
    /// When AWS closes it, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
    /// Who is connected, as AWS says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<Connected>,
    events: &'a [Event],
}

/// Which ends are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// The caller's.
    pub source: bool,
    /// The device's.
    pub destination: bool,
}

impl<'a> TunnelView<'a> {
    /// The view of a record.
    pub fn new(tunnel: &'a Tunnel) -> Self {
        let event = |what: &str| tunnel.events.iter().find(|event| event.what == what);
        let (asked, opened, closed) = (event("asked"), event("opened"), event("closed"));
        let waits = tunnel.status == Status::Queued;
        Self {
            tunnel_id: &tunnel.tunnel_id,
            thing_name: &tunnel.thing_name,
            status: tunnel.status,
            services: tunnel.request.services.iter().map(String::as_str).collect(),
            minutes: tunnel.request.minutes.get(),
            reason: &tunnel.request.reason,
            asked_by: asked.map_or("", |event| &event.by),
            asked_at: asked.map_or(Moment(0), |event| event.at),
            aws_tunnel_id: tunnel.aws_tunnel_id.as_deref(),
            waits_until_deadline: waits.then_some(tunnel.until),
            opened_at: opened.map(|event| event.at),
            expires_at: opened.map(|_| tunnel.until),
            closed_at: closed.map(|event| event.at),
            closed_by: closed.map(|event| event.by.as_str()),
            ending: tunnel.ending,
            connected: None,
            events: &tunnel.events,
        }
    }

    /// The same with who is connected.
    #[must_use]
    pub fn with_connected(mut self, connected: Option<Connected>) -> Self {
        self.connected = connected;
        self
    }
}

/// Which page of a device's tunnels; the latest come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelQuery {
    /// The largest page.
    pub limit: usize,
    /// Only what comes after this one in the list.
    pub after: Option<String>,
}

impl TunnelQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let (mut limit, mut after) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "limit" => once(&name, &mut limit, read_limit(&value)?)?,
                "cursor" => once(&name, &mut after, checked(value)?)?,
                _ => {
                    return Err(Failure::invalid(
                        &name,
                        format!("tunnels cannot be listed by {name}"),
                        "Use limit and cursor: an answer's nextCursor is the next request's cursor.",
                    ));
                }
            }
        }
        let limit = limit.unwrap_or(USUAL);
        Ok(Self { limit, after })
    }
}

/// A tunnel's place in its device's list: by time, then by id. It is the list's
/// sort key, and a page's cursor.
pub fn place(tunnel: &Tunnel) -> String {
    let at = tunnel.events.first().map_or(0, |event| event.at.0);
    format!("{at:014}#{}", tunnel.tunnel_id.as_str())
}

fn checked(cursor: String) -> Result<String, Failure> {
    let parts = cursor.split_once('#').filter(|(at, id)| {
        at.len() == 14 && at.bytes().all(|b| b.is_ascii_digit()) && TunnelId::parse(id).is_ok()
    });
    if parts.is_some() {
        return Ok(cursor);
    }
    let remedy = "Send the nextCursor of the page before, as it is.";
    Err(Failure::invalid("cursor", "it is no cursor", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_a_page_gave() {
        let id = TunnelId::from_key("k");
        let place = format!("{:014}#{}", 7, id.as_str());
        let query = format!("limit=5&cursor={}", place.replace('#', "%23"));
        let query = TunnelQuery::parse(&query).unwrap();
        assert_eq!((query.limit, query.after), (5, Some(place)));
        for wrong in [
            "cursor=1",
            "cursor=x",
            "limit=0",
            "limit=1&limit=2",
            "what=1",
        ] {
            TunnelQuery::parse(wrong).expect_err(wrong);
        }
    }
}
