//! Tunnels: a way to a device behind a firewall, for a while and for a reason.
//!
//! AWS opens a tunnel for each call and gives its tokens once, so the record
//! comes first: what [`ask`](Tunnel::ask) makes is stored before the call, and a
//! tunnel whose opening was not answered is found by its description, closed and
//! opened again. A record holds no token. It is never changed once the tunnel
//! is closed: together the records are the audit trail.
//!
//! A tunnel that waits is opened by its own request, repeated: its token has to
//! have somebody to go to.

pub mod message;
pub mod pace;
pub mod request;
#[cfg(test)]
mod tests;
pub mod view;

use serde::{Deserialize, Serialize};

use crate::device::{DeviceRecord, DeviceStatus};
use crate::failure::Failure;
use crate::names::ThingName;
use crate::quote::quoted;
use crate::time::Moment;
use request::TunnelRequest;

const MINUTE_MILLIS: u64 = 60_000;
/// How many rotations a record names; AWS has no such bound, a person does.
const MOST_EVENTS: usize = 50;
/// For so long after somebody was at work on an opening its request may be
/// repeated; then it is given up.
const PATIENCE_MILLIS: u64 = 2 * MINUTE_MILLIS;

/// A tunnel's id, ours: AWS's is known only once it is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TunnelId(String);

impl TunnelId {
    /// The id that a caller's idempotency key always leads to.
    pub fn from_key(key: &str) -> Self {
        let digest = crate::csr::sha256_hex(format!("tunnel\0{key}").as_bytes());
        Self(format!("tunnel-{}", &digest[..24]))
    }

    /// Checks an id that a caller sent.
    ///
    /// # Errors
    /// `Invalid` for `tunnelId`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.strip_prefix("tunnel-").unwrap_or_default();
        if hex.len() == 24 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::invalid(
            "tunnelId",
            format!("{} is not a tunnel's id", quoted(text)),
            "Use the tunnelId that the tunnel's opening answered with.",
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A token that lets one client into a tunnel, once. It goes to its caller and
/// nowhere else: it can be neither written out nor stored (invariant 4).
pub struct Token(String);

impl Token {
    /// What AWS answered.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Hands it to its caller.
    pub fn hand_out(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Connected.
    Connected,
    /// Not connected.
    Disconnected,
}

/// Where a tunnel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is opened when the device connects.
    Queued,
    /// It may be open.
    Opening,
    /// It is.
    Open,
    /// It is no more; for ever.
    Closed,
}

/// Why a tunnel was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ending {
    /// Somebody closed it.
    Closed,
    /// Its time was over.
    Expired,
    /// The device did not connect in time.
    NeverConnected,
    /// Somebody closed it in AWS.
    ClosedOutside,
    /// The device was deleted.
    DeviceRemoved,
    /// A case of compromise was opened of the device.
    Compromised,
    /// AWS would not open it.
    Refused,
    /// Its opening was not answered, and nobody asked again.
    Abandoned,
}

/// Something that happened to a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What: `asked`, `opened`, `rotated`, `closed`.
    pub what: String,
    /// Who: a caller's ARN, or what did it.
    pub by: String,
}

/// `TUNNEL#id / TUNNEL`: a tunnel's record, and the audit trail's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// Its id.
    pub tunnel_id: TunnelId,
    /// Counts the row's changes.
    pub version: u64,
    /// Where it stands.
    pub status: Status,
    /// What was asked for.
    pub request: TunnelRequest,
    /// The device.
    pub thing_name: ThingName,
    /// AWS's id, once it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_tunnel_id: Option<String>,
    /// Until when it waits for the device, or until when it is open.
    pub until: Moment,
    /// Until when somebody is at work on its opening, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Moment>,
    /// What happened, the first first.
    pub events: Vec<Event>,
    /// Why it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Open it now: look whether an earlier call has, close that one, call.
    Open,
    /// Nothing, until this moment or until the device connects.
    AwaitDevice(Moment),
    /// Nothing, until this moment, when AWS closes it.
    Expires(Moment),
    /// Nothing more.
    Ended,
}

/// The device, if a tunnel may lead to it.
///
/// # Errors
/// `NotFound` without such a device; `Conflict` while it is not ACTIVE, or a
/// case of compromise is open for it: somebody else may sit at its end.
pub fn admit<'a>(
    name: &ThingName,
    device: Option<&'a DeviceRecord>,
) -> Result<&'a DeviceRecord, Failure> {
    let device = DeviceRecord::active(name, device, "Only an ACTIVE device has tunnels.")?;
    match &device.case_id {
        None => Ok(device),
        Some(case) => Err(Failure::conflict(
            "thingName",
            format!("the case {case} is open for {name}"),
            "Close the case first.",
        )),
    }
}

impl Tunnel {
    /// A tunnel that somebody asks for.
    ///
    /// # Errors
    /// `Conflict`, status 409, for a device that is not connected, unless the
    /// request may wait.
    pub fn ask(
        tunnel_id: TunnelId,
        thing_name: ThingName,
        request: TunnelRequest,
        presence: Presence,
        by: &str,
        now: Moment,
    ) -> Result<Self, Failure> {
        let (status, until) = match (presence, request.wait_minutes) {
            (Presence::Connected, _) => {
                (Status::Opening, now.plus_millis(request.minutes.millis()))
            }
            (Presence::Disconnected, Some(minutes)) => (
                Status::Queued,
                now.plus_millis(u64::from(minutes) * MINUTE_MILLIS),
            ),
            (Presence::Disconnected, None) => {
                return Err(Failure::conflict(
                    "thingName",
                    format!("{thing_name} is not connected"),
                    "Ask again when it is, or send waitMinutes to have it opened then.",
                ));
            }
        };
        let mut tunnel = Self {
            tunnel_id,
            version: 0,
            status,
            request,
            thing_name,
            aws_tunnel_id: None,
            until,
            lease_until: None,
            events: Vec::new(),
            ending: None,
        };
        tunnel.note("asked", by, now);
        Ok(tunnel)
    }

    /// Whether a request that comes again is the one that this is of.
    ///
    /// # Errors
    /// `Conflict` for `idempotencyKey` where it asks for something else.
    pub fn asked_again(&self, thing: &ThingName, request: &TunnelRequest) -> Result<(), Failure> {
        if self.thing_name == *thing && self.request == *request {
            return Ok(());
        }
        Err(Failure::conflict(
            "idempotencyKey",
            "another tunnel was asked for with this key",
            "Send a key of its own with every request.",
        ))
    }

    /// Somebody sets to work on its opening, alone until then.
    ///
    /// # Errors
    /// `Busy` while somebody else is at it.
    pub fn take_up(mut self, now: Moment, until: Moment) -> Result<Self, Failure> {
        if let Some(lease) = self.lease_until.filter(|lease| now < *lease) {
            let seconds = now.until(lease).div_ceil(1000);
            let reason = "the tunnel is being opened at this moment";
            return Err(Failure::busy(reason, seconds));
        }
        self.lease_until = Some(until);
        self.version += 1;
        Ok(self)
    }

    /// They stop, and it is not open.
    #[must_use]
    pub fn put_down(mut self, now: Moment) -> Self {
        self.lease_until = Some(now);
        self.version += 1;
        self
    }

    /// What comes next, after [`settle`](Self::settle).
    pub fn next(&self) -> Next {
        match self.status {
            Status::Queued => Next::AwaitDevice(self.until),
            Status::Opening => Next::Open,
            Status::Open => Next::Expires(self.until),
            Status::Closed => Next::Ended,
        }
    }

    /// Decides what time has brought, and when it did: whoever looks, whenever,
    /// sees the same end.
    #[must_use]
    pub fn settle(self, now: Moment) -> Self {
        let (end, ending) = match self.status {
            Status::Queued => (self.until, Ending::NeverConnected),
            Status::Opening => {
                let since = self.lease_until.unwrap_or(self.until);
                (since.plus_millis(PATIENCE_MILLIS), Ending::Abandoned)
            }
            // AWS closes it by itself.
            Status::Open => (self.until, Ending::Expired),
            Status::Closed => return self,
        };
        if now < end {
            return self;
        }
        self.close(ending, "time", end)
    }

    /// AWS has it no more, or closed, and nobody did that here: the device's
    /// record says whether a deletion or a case has.
    #[must_use]
    pub fn vanished(self, device: Option<&DeviceRecord>, now: Moment) -> Self {
        match self.removal(device) {
            Some((ending, by)) => self.close(ending, &by, now),
            None => self.close(Ending::ClosedOutside, "AWS", now),
        }
    }

    /// What has removed or compromised its device, if something has: a tunnel to
    /// it is to be closed.
    pub fn removal(&self, device: Option<&DeviceRecord>) -> Option<(Ending, String)> {
        let deleted = |by| Some((Ending::DeviceRemoved, by));
        let Some(device) = device else {
            return deleted("a deletion".to_owned());
        };
        if device.status == DeviceStatus::Deleting {
            return deleted(format!("deletion {}", device.operation_id));
        }
        // A device made since under the same name is another one.
        let asked = self.events.first().map_or(Moment(0), |event| event.at);
        if device.created_at > asked {
            return deleted("a deletion".to_owned());
        }
        let case = device.case_id.as_ref();
        case.map(|case| (Ending::Compromised, format!("case {case}")))
    }

    /// The device connected: it is to be opened.
    #[must_use]
    pub fn connected(mut self, now: Moment) -> Self {
        if self.status == Status::Queued && now < self.until {
            self.status = Status::Opening;
            self.version += 1;
        }
        self
    }

    /// What AWS is told that it is for. By it a tunnel is known again whose
    /// opening was not answered.
    pub fn description(&self) -> String {
        format!("{} {}", self.tunnel_id.0, self.request.reason)
    }

    /// Whether a tunnel that AWS lists is this one.
    pub fn is_described_by(&self, description: &str) -> bool {
        description.split(' ').next() == Some(self.tunnel_id.as_str())
    }

    /// AWS has opened it. Its time is counted from before the call, so that the
    /// record never says longer than it is.
    ///
    /// # Errors
    /// `Conflict` for one that was closed meanwhile: AWS's has to be closed too.
    pub fn opened(mut self, aws_tunnel_id: &str, called_at: Moment) -> Result<Self, Failure> {
        if self.status != Status::Opening {
            return Err(self.refused("opened"));
        }
        self.status = Status::Open;
        self.aws_tunnel_id = Some(aws_tunnel_id.to_owned());
        self.until = called_at.plus_millis(self.request.minutes.millis());
        self.lease_until = None;
        self.note("opened", "AWS", called_at);
        Ok(self)
    }

    /// New tokens were asked for. They live no longer than the old ones would.
    ///
    /// # Errors
    /// `Conflict` for one that is not open.
    pub fn rotate(self, by: &str, now: Moment) -> Result<Self, Failure> {
        let mut tunnel = self.settle(now);
        if tunnel.status != Status::Open {
            return Err(tunnel.refused("rotated"));
        }
        tunnel.note("rotated", by, now);
        Ok(tunnel)
    }

    /// It is closed; a second time changes nothing.
    #[must_use]
    pub fn close(mut self, ending: Ending, by: &str, now: Moment) -> Self {
        if self.status != Status::Closed {
            self.status = Status::Closed;
            self.ending = Some(ending);
            self.note("closed", by, now);
        }
        self
    }

    /// Whether AWS may have something that is to be closed there: it closes by
    /// itself only what has lived its time.
    pub fn may_linger(&self) -> bool {
        match self.ending {
            None | Some(Ending::Expired | Ending::NeverConnected | Ending::ClosedOutside) => false,
            Some(
                Ending::Closed
                | Ending::DeviceRemoved
                | Ending::Compromised
                | Ending::Refused
                | Ending::Abandoned,
            ) => true,
        }
    }

    fn note(&mut self, what: &str, by: &str, at: Moment) {
        self.version += 1;
        let last = what == "closed";
        if self.events.len() < MOST_EVENTS || last {
            self.events.push(Event {
                at,
                what: what.to_owned(),
                by: by.to_owned(),
            });
        }
    }

    /// That it cannot be done to a tunnel that stands so.
    fn refused(&self, verb: &str) -> Failure {
        let stands = match self.status {
            Status::Queued => "waits for its device",
            Status::Opening => "is being opened",
            Status::Open => "is open",
            Status::Closed => "is closed",
        };
        let reason = format!("a tunnel that {stands} cannot be {verb}");
        Failure::conflict("status", reason, "Open another one.")
    }
}
