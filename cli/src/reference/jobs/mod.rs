//! The device's jobs: what a firmware engineer reads to implement
//! `docs/jobs-protocol.md`.
//!
//! Every decision is [`Progress`](lamplighter_domain::job::execution::Progress)'s.
//! Around it, from the disk outwards: `record` says which files, `handlers` what
//! jobs may run, `passage` whether its user gets there, `process` runs it, `leftovers` ends what it left running,
//! `protocol` reads and writes AWS's messages,
//! and `agent` stores each decision before it is acted on. The agent is a task
//! of its own: a handler runs on while the device is disconnected, or changes
//! its certificate.

mod agent;
mod handlers;
mod leftovers;
mod passage;
mod process;
mod protocol;
mod reason;
mod record;
mod task;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lamplighter_domain::names::{OperationId, ThingName};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Line, News, Wire, device};
use crate::api::random;
use crate::failure::Failure;
use agent::{Agent, State};
use record::Record;
use task::Task;

pub(crate) use handlers::Settings;
pub(super) use protocol::{SUBSCRIPTIONS, subscriptions};

/// What the device tells its jobs.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is connected, and its subscriptions are in force.
    Listening,
    /// It is connected no more.
    Lost,
    /// A message came.
    Message { topic: String, payload: Vec<u8> },
    /// The certificate of this rotation is the device's only one.
    Renewed(OperationId),
    /// This rotation has come to nothing.
    GaveUp(OperationId, String),
}

/// What the jobs have the device do.
#[derive(Debug)]
pub(super) enum Order {
    /// Publish this.
    Publish(String, Value),
    /// Renew its certificate, as if it were told so.
    Renew(OperationId),
    /// Start anew.
    Restart,
    /// Stop: the disk fails.
    Fail(Failure),
}

/// A device's jobs, from one start of the light to the next.
pub(super) struct Jobs {
    heard: UnboundedSender<Heard>,
    orders: UnboundedReceiver<Order>,
    _agent: Task<()>,
    /// The version of the firmware that this start runs.
    pub(super) firmware: Arc<str>,
}

impl Jobs {
    /// The light starts. What the step that was cut off has left running is
    /// ended first: it may be writing the firmware.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn start(
        thing: &ThingName,
        settings: &Arc<Settings>,
        first_firmware: &str,
        repeat_every: Duration,
        wire: &Wire,
    ) -> Result<Self, Failure> {
        let warn = |reason| {
            let _ = wire.send(Line {
                at: device::now(),
                thing_name: thing.clone(),
                news: News::Warned { reason },
            });
        };
        let record = Record::open(&settings.directory, thing)?;
        if let Some(mark) = record.progress()?.as_ref().and_then(leftovers::mark)
            && !leftovers::end(&mark)
        {
            warn(leftovers::REMAINS.to_owned());
        }
        let installed = record.installed().unwrap_or_else(|reason| {
            warn(reason);
            None
        });
        let firmware = match installed {
            Some(version) => version,
            None => record.first(first_firmware)?,
        };
        let (say, heard) = unbounded_channel();
        let (order, orders) = unbounded_channel();
        let agent = Agent {
            thing: thing.clone(),
            settings: Arc::clone(settings),
            record,
            boot: format!("{:016x}", u64::from_le_bytes(random())),
            repeat_every,
            wire: wire.clone(),
            heard,
            orders: order,
            state: State::default(),
        };
        Ok(Self {
            heard: say,
            orders,
            _agent: Task::spawn(agent.live()),
            firmware: firmware.into(),
        })
    }

    /// Tells them something. They may have ended, and have said so.
    pub(super) fn say(&self, heard: Heard) {
        let _ = self.heard.send(heard);
    }

    /// What is to be done for them next.
    pub(super) async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            None => pending().await,
        }
    }

    /// The same while the device is not connected: there is nobody to publish
    /// to, and what is to be renewed they will ask for again.
    pub(super) async fn order_offline(&mut self) -> Result<(), Failure> {
        loop {
            match self.order().await {
                Order::Publish(..) | Order::Renew(_) => {}
                Order::Restart => return Ok(()),
                Order::Fail(failure) => return Err(failure),
            }
        }
    }
}
