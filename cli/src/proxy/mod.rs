//! Local proxies: what carries a TCP connection through a tunnel, from this
//! machine (`source`) to a device (`destination`).
//!
//! From the wire inwards: `endpoint` says where AWS's proxy server is,
//! `websocket` connects to it, `link` is one connection with the streams that go
//! through. The messages are the domain's
//! ([`message`](lamplighter_domain::tunnel::message)).

mod destination;
mod endpoint;
mod link;
mod source;
#[cfg(test)]
mod tests;
mod websocket;

use std::time::Duration;

use zeroize::Zeroizing;

use crate::api::random;

pub(crate) use destination::{Event, Services, serve};
pub(crate) use endpoint::Endpoint;
pub(crate) use source::{Listen, Told, carry};

/// The time until a connection that broke off is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(2500);

/// Which end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// A way into a tunnel: a token, and where it counts.
pub(crate) struct Way {
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Zeroizing<String>,
    /// Binds the token to this process, which may then connect with it again.
    client_token: String,
}

impl Way {
    pub(crate) fn new(endpoint: Endpoint, token: Zeroizing<String>) -> Self {
        let client_token = format!("{:032x}", u128::from_le_bytes(random()));
        Self {
            endpoint,
            token,
            client_token,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The tunnel is not there, or not for this token.
    Refused(String),
    /// What the tunnel is for is not what is asked of it.
    Unfit(String),
    /// The connection did not come about, or broke off.
    Lost(String),
}
