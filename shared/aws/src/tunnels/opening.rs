//! From a request to an open tunnel and its token, which goes to its caller and
//! nowhere else.

use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::tunnel::request::TunnelRequest;
use lamplighter_domain::tunnel::{self, Ending, Presence, Status, Token, Tunnel, TunnelId};
use tokio::time::{Duration, Instant};

use super::Tunnels;
use super::calls::Opened;
use super::rows::{Held, told};
use crate::clock;
use crate::table::Key;

/// For how long whoever opens a tunnel has it alone: longer than an invocation.
const LEASE_MILLIS: u64 = 35_000;
/// A throttled call is made again within the invocation if it was throttled so
/// early: the next turn and its answer have to fit.
const AGAIN_WITHIN: Duration = Duration::from_secs(7);

impl Tunnels {
    /// Opens a tunnel. The token is there if this call has opened it: one that
    /// waits has none yet, and one that is open has had its own.
    pub async fn open(
        &self,
        thing: &ThingName,
        request: TunnelRequest,
        key: Option<&str>,
        by: &str,
    ) -> Result<(Tunnel, Option<Token>), Failure> {
        let keyed = key.map(|key| TunnelId::from_key(&format!("{by}\0{thing}\0{key}")));
        if let Some(id) = &keyed
            && let Some(row) = self.find(id).await?
        {
            row.asked_again(thing, &request)?;
            return self.go_on(row).await;
        }
        let id = keyed.unwrap_or_else(clock::tunnel_id);
        let device = self.table.get(&Key::device(thing)).await?;
        tunnel::admit(thing, device.as_ref())?;
        let presence = self.presence(thing).await?;
        let now = clock::now();
        let mut asked = Tunnel::ask(id, thing.clone(), request, presence, by, now)?;
        if asked.status == Status::Opening {
            asked = asked.take_up(now, now.plus_millis(LEASE_MILLIS))?;
        }
        match self.record(&asked).await? {
            Held::Written => {
                tracing::info!(
                    tunnel = asked.tunnel_id.as_str(),
                    thing = thing.as_str(),
                    by,
                    "a tunnel is asked for"
                );
            }
            Held::Changed => return Err(Failure::busy("the same request is at work", 1)),
            Held::Refused => return Err(Failure::busy("the device is changing at this moment", 1)),
        }
        match asked.status {
            Status::Opening => self.opened(asked).await,
            _ => Ok((asked, None)),
        }
    }

    /// Goes on with what was asked for before.
    async fn go_on(&self, row: Tunnel) -> Result<(Tunnel, Option<Token>), Failure> {
        let (tunnel, _) = self.look(row).await?;
        let tunnel = self.cut_off(tunnel).await?;
        let there = match tunnel.status {
            Status::Open | Status::Closed => return Ok((tunnel, None)),
            Status::Opening => true,
            Status::Queued => self.presence(&tunnel.thing_name).await? == Presence::Connected,
        };
        if !there {
            return Ok((tunnel, None));
        }
        let device = self.table.get(&Key::device(&tunnel.thing_name)).await?;
        tunnel::admit(&tunnel.thing_name, device.as_ref())?;
        let taken = self
            .change(tunnel, |tunnel| {
                let now = clock::now();
                let tunnel = tunnel.connected(now);
                if tunnel.status != Status::Opening {
                    return Err(Failure::busy("the tunnel is changing at this moment", 1));
                }
                tunnel.take_up(now, now.plus_millis(LEASE_MILLIS))
            })
            .await?;
        // An opening that was not answered has left a token that nobody has.
        for aws_id in self.opened_for(&taken).await? {
            self.close_in_aws(&aws_id).await?;
        }
        self.opened(taken).await
    }

    /// Has AWS open what is taken up.
    async fn opened(&self, tunnel: Tunnel) -> Result<(Tunnel, Option<Token>), Failure> {
        let started = Instant::now();
        loop {
            if let Err(busy) = self.turn("OPEN").await {
                return self.given_up(tunnel, busy).await;
            }
            let called_at = clock::now();
            match self.open_in_aws(&tunnel).await {
                Opened::Yes { aws_id, token } => {
                    let open = tunnel.clone().opened(&aws_id, called_at)?;
                    return self.recorded(&tunnel, open, token).await;
                }
                Opened::Throttled(_) if started.elapsed() < AGAIN_WITHIN => {}
                Opened::Throttled(failure) | Opened::Lost(failure) => {
                    return self.given_up(tunnel, failure).await;
                }
                Opened::Refused(failure) => {
                    let closed = self
                        .change(tunnel, |row| {
                            Ok(row.close(Ending::Refused, "AWS", clock::now()))
                        })
                        .await?;
                    self.clear(&closed).await?;
                    return Err(failure);
                }
            }
        }
    }

    /// Lets others go on with it.
    async fn given_up<T>(&self, tunnel: Tunnel, failure: Failure) -> Result<T, Failure> {
        self.change(tunnel, |row| {
            Ok(match row.status {
                Status::Opening => row.put_down(clock::now()),
                _ => row,
            })
        })
        .await?;
        Err(failure)
    }

    /// Records what AWS has opened. A device that has gone meanwhile, or was
    /// found compromised, may have been looked at before its tunnel was there:
    /// then it is closed here.
    async fn recorded(
        &self,
        before: &Tunnel,
        open: Tunnel,
        token: Token,
    ) -> Result<(Tunnel, Option<Token>), Failure> {
        if self.record_opened(before, &open).await? == Held::Written {
            told(before, &open);
            return Ok((open, Some(token)));
        }
        drop(token);
        let device = self.table.get(&Key::device(&open.thing_name)).await?;
        let row = self.row(&open.tunnel_id).await?;
        let closed = self
            .change(row, |row| {
                if row.status == Status::Closed {
                    return Ok(row);
                }
                let now = clock::now();
                let row = row.put_down(now);
                Ok(match row.removal(device.as_ref()) {
                    Some((ending, by)) => row.close(ending, &by, now),
                    None => row.close(Ending::Abandoned, "the opening", now),
                })
            })
            .await?;
        self.clear(&closed).await?;
        let reason = "the tunnel was closed before it was open";
        Err(Failure::conflict("status", reason, "Look at its trail."))
    }
}
