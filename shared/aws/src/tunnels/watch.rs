//! The watch: what happens to tunnels while nobody asks about them is put on
//! record, and what nobody came back for is closed.

use lamplighter_domain::Failure;
use lamplighter_domain::tunnel::{Status, Tunnel, TunnelId};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::Tunnels;
use crate::table::Key;
use crate::{clock, telemetry};

/// No tunnel is looked at later than this; the next watch begins anew.
const BUDGET: Duration = Duration::from_secs(40);

/// What a watch has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// How many tunnels were looked at.
    pub looked_at: usize,
    /// How many of them are closed.
    pub closed: usize,
    /// How many could not be looked at; the log says why.
    pub failed: usize,
}

impl Tunnels {
    /// Looks at every tunnel that AWS may have.
    pub async fn watch(&self) -> Result<Watched, Failure> {
        let (started, mut watched) = (Instant::now(), Watched::default());
        for id in self.live().await? {
            if started.elapsed() > BUDGET {
                break;
            }
            match self.watch_one(&id).await {
                Ok(tunnel) => {
                    watched.looked_at += 1;
                    let closed = tunnel.is_none_or(|tunnel| tunnel.status == Status::Closed);
                    watched.closed += usize::from(closed);
                }
                Err(failure) => {
                    watched.failed += 1;
                    telemetry::failed(&failure);
                }
            }
        }
        Ok(watched)
    }

    async fn watch_one(&self, id: &TunnelId) -> Result<Option<Tunnel>, Failure> {
        let Some(row) = self.find(id).await? else {
            self.table.remove(&Key::live_tunnel(id)).await?;
            return Ok(None);
        };
        let (tunnel, _) = self.look(row).await?;
        Ok(Some(self.cut_off(tunnel).await?))
    }

    /// The tunnel as it is once its device was removed or compromised, if so.
    pub(super) async fn cut_off(&self, tunnel: Tunnel) -> Result<Tunnel, Failure> {
        if tunnel.status == Status::Closed {
            return Ok(tunnel);
        }
        let device = self.table.get(&Key::device(&tunnel.thing_name)).await?;
        let Some((ending, by)) = tunnel.removal(device.as_ref()) else {
            return Ok(tunnel);
        };
        let closed = self
            .change(tunnel, |tunnel| Ok(tunnel.close(ending, &by, clock::now())))
            .await?;
        self.clear(&closed).await?;
        Ok(closed)
    }
}
