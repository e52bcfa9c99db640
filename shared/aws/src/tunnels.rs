//! Tunnels: opened, rotated, closed and watched.
//!
//! A tunnel's row says what is so, and is written before AWS is told: a tunnel
//! is on record before it can exist, and closed on record before it is closed.
//! Beside it `TUNNELS / LIVE#id` stands for as long as AWS may have something
//! that is to be closed; what a lost reply leaves is found by that, by the
//! [watch](Tunnels::watch) if by nobody else (invariant 3).

mod calls;
mod opening;
mod rows;
mod watch;

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::tunnel::request::known_services;
use lamplighter_domain::tunnel::view::{Connected, TunnelQuery, TunnelView, place};
use lamplighter_domain::tunnel::{self, Ending, Status, Token, Tunnel, TunnelId};
use serde_json::{Value, json};

use crate::table::{Key, Table};
use crate::{clock, setup};

pub use watch::Watched;

/// How often a row is changed anew while others change it.
const ATTEMPTS: u32 = 8;

/// The clients and settings that tunnels work with.
pub struct Tunnels {
    /// The registry.
    pub table: Table,
    /// Whether a device is connected.
    pub data: aws_sdk_iotdataplane::Client,
    /// AWS IoT Secure Tunneling.
    pub aws: aws_sdk_iotsecuretunneling::Client,
    /// The services that this stack's devices offer.
    pub services: BTreeSet<String>,
    /// How many `OpenTunnel` and `CloseTunnel` the account has a second, each.
    pub per_second: u32,
}

impl Tunnels {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let rate = setup::required("TUNNELS_PER_SECOND")?;
        let per_second = rate.parse().ok().filter(|rate| *rate > 0);
        Ok(Self {
            table: Table::from_env(sdk)?,
            data: aws_sdk_iotdataplane::Client::new(sdk),
            aws: aws_sdk_iotsecuretunneling::Client::new(sdk),
            services: known_services(&setup::required("TUNNEL_SERVICES")?)?,
            per_second: per_second.ok_or_else(|| {
                Failure::bug(format!("TUNNELS_PER_SECOND is {rate:?}, which is no rate"))
            })?,
        })
    }

    /// One tunnel, as it stands in AWS too, and who is connected to it.
    pub async fn show(&self, id: &TunnelId) -> Result<Value, Failure> {
        let (tunnel, connected) = self.look(self.row(id).await?).await?;
        Ok(json!(TunnelView::new(&tunnel).with_connected(connected)))
    }

    /// A page of a device's tunnels, as they are on record, the latest first.
    pub async fn list(&self, thing: &ThingName, query: &TunnelQuery) -> Result<Value, Failure> {
        let (rows, more) = self.listed(thing, query).await?;
        let now = clock::now();
        let tunnels: Vec<_> = rows.into_iter().map(|row| row.settle(now)).collect();
        let items: Vec<_> = tunnels.iter().map(TunnelView::new).collect();
        let mut answer = json!({ "items": items });
        if let (true, Some(last)) = (more, tunnels.last()) {
            answer["nextCursor"] = place(last).into();
        }
        Ok(answer)
    }

    /// New tokens for both ends; the old ones are worth nothing from now on.
    /// The device is told its own by AWS.
    pub async fn rotate(&self, id: &TunnelId, by: &str) -> Result<(Tunnel, Token), Failure> {
        let row = self.row(id).await?;
        // A device that has gone, or is cut off, gets no new way in.
        let device = self.table.get(&Key::device(&row.thing_name)).await?;
        tunnel::admit(&row.thing_name, device.as_ref())?;
        let tunnel = self
            .change(row, |tunnel| tunnel.rotate(by, clock::now()))
            .await?;
        if let Some(token) = self.new_tokens(&tunnel).await? {
            return Ok((tunnel, token));
        }
        let gone = self.gone(tunnel).await?;
        let refused = gone.rotate(by, clock::now()).err();
        Err(refused.unwrap_or_else(|| Failure::bug("a tunnel that AWS has not can be rotated")))
    }

    /// Closes a tunnel; a second time changes nothing.
    pub async fn close(&self, id: &TunnelId, by: &str) -> Result<Tunnel, Failure> {
        let row = self.row(id).await?;
        let closed = self
            .change(row, |tunnel| {
                let now = clock::now();
                Ok(tunnel.settle(now).close(Ending::Closed, by, now))
            })
            .await?;
        self.clear(&closed).await?;
        Ok(closed)
    }

    /// Whether AWS still has an open tunnel open, and who is connected to it.
    async fn look(&self, row: Tunnel) -> Result<(Tunnel, Option<Connected>), Failure> {
        let tunnel = self.change(row, |row| Ok(row.settle(clock::now()))).await?;
        match (tunnel.status, &tunnel.aws_tunnel_id) {
            (Status::Open, Some(aws_id)) => match self.described(aws_id).await? {
                Some(connected) => Ok((tunnel, Some(connected))),
                None => Ok((self.gone(tunnel).await?, None)),
            },
            (Status::Closed, _) => {
                self.clear(&tunnel).await?;
                Ok((tunnel, None))
            }
            _ => Ok((tunnel, None)),
        }
    }

    /// Records that AWS has a tunnel no more.
    async fn gone(&self, tunnel: Tunnel) -> Result<Tunnel, Failure> {
        let device = self.table.get(&Key::device(&tunnel.thing_name)).await?;
        let closed = self
            .change(tunnel, |tunnel| {
                Ok(tunnel.vanished(device.as_ref(), clock::now()))
            })
            .await?;
        self.clear(&closed).await?;
        Ok(closed)
    }
}
