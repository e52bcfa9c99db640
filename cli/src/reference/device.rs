//! A device's whole life: it connects, does its shift, and connects again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lamplighter_domain::names::ThingName;
use lamplighter_domain::rotation::wallet::{Act, Tried};
use lamplighter_domain::time::Moment;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::gap::Gaps;
use super::jobs::{self, Heard, Jobs};
use super::session::{Cut, Session};
use super::shift::{Leave, Shift};
use super::tunnels::Tunnels;
use super::{Dialer, Habits, Keeper, Line, News, Wire, protocol};
use crate::api::random;
use crate::failure::{Exit, Failure};

/// A device and what it needs.
pub(crate) struct Device {
    pub(super) thing: ThingName,
    keeper: Arc<Mutex<Keeper>>,
    dialer: Arc<Dialer>,
    pub(super) habits: Habits,
    pub(super) jobs: Jobs,
    pub(super) tunnels: Tunnels,
    vitals: Arc<Mutex<Vitals>>,
    wire: Wire,
    started: Instant,
    /// The number of the next message of telemetry, and when it is due.
    pub(super) sequence: u64,
    pub(super) telemetry_at: tokio::time::Instant,
}

/// How a device is doing, for those who watch it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vitals {
    /// Whether it is connected.
    pub(crate) connected: bool,
    /// Whether a rotation is under way.
    pub(crate) rotating: bool,
    /// How many rotations it has brought to their end.
    pub(crate) rotated: u32,
    /// How many it has given up.
    pub(crate) rejected: u32,
    /// How often it has connected.
    pub(crate) connections: u32,
    /// For how long nothing was heard of it.
    pub(crate) gaps: Gaps,
}

/// What comes after a connection, or after none.
enum Next {
    Connect(Tried, Duration),
    Restart,
    Stop,
}

impl Device {
    /// A device that starts.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn new(
        thing: ThingName,
        keeper: Keeper,
        dialer: Arc<Dialer>,
        habits: Habits,
        wire: Wire,
    ) -> Result<Self, Failure> {
        Ok(Self {
            jobs: jobs_of(&thing, &habits, &wire)?,
            tunnels: Tunnels::new(&thing, &habits.tunnels, &wire),
            thing,
            keeper: Arc::new(Mutex::new(keeper)),
            dialer,
            habits,
            vitals: Arc::default(),
            wire,
            started: Instant::now(),
            sequence: 0,
            telemetry_at: tokio::time::Instant::now(),
        })
    }

    /// Where to look how the device is doing.
    pub(crate) fn vitals(&self) -> Arc<Mutex<Vitals>> {
        Arc::clone(&self.vitals)
    }

    /// Lives until told to stop.
    ///
    /// # Errors
    /// When the disk fails: a device that cannot store what it decides must
    /// not act on it.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let lived = self.live(stop).await;
        if let Err(failure) = &lived {
            self.tell(News::Failed {
                reason: failure.text(),
            });
        }
        lived
    }

    async fn live(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        let mut tried = self.kept(|keeper| Ok(keeper.wallet().start())).await?;
        loop {
            tried = self.look(false).await?.map_or(tried, |act| match act {
                Act::Connect(staged) => staged,
                _ => tried,
            });
            let opened = tokio::select! {
                opened = self.open(tried) => opened?,
                () = stopped(&mut stop) => return Ok(()),
            };
            let next = match opened {
                Ok(session) => self.serve(session, tried, &mut backoff, &mut stop).await?,
                Err(cut) => self.cut(cut, tried, &mut backoff).await?,
            };
            match next {
                Next::Stop => return Ok(()),
                Next::Restart => tried = self.restart().await?,
                Next::Connect(with, wait) => {
                    tried = with;
                    let restart = tokio::select! {
                        () = tokio::time::sleep(wait) => false,
                        ended = self.jobs.order_offline() => ended.map(|()| true)?,
                        () = stopped(&mut stop) => return Ok(()),
                    };
                    if restart {
                        tried = self.restart().await?;
                    }
                }
            }
        }
    }

    /// Starts anew, with what is on the disk.
    async fn restart(&mut self) -> Result<Tried, Failure> {
        self.jobs = jobs_of(&self.thing, &self.habits, &self.wire)?;
        self.tunnels = Tunnels::new(&self.thing, &self.habits.tunnels, &self.wire);
        self.started = Instant::now();
        self.kept(|keeper| Ok(keeper.wallet().start())).await
    }

    async fn open(&self, tried: Tried) -> Result<Result<Session, Cut>, Failure> {
        // A pair that the disk does not give back is as good as refused.
        let identity = self.kept(move |keeper| Ok(keeper.identity(tried))).await?;
        let identity = match identity {
            Ok(identity) => identity,
            Err(failure) => return Ok(Err(Cut::Refused(failure.reason))),
        };
        let mut filters = protocol::subscriptions(&self.thing);
        filters.extend(self.tunnels.subscription());
        // The last ones: whether they are granted says whether jobs are heard of.
        filters.extend(jobs::subscriptions(&self.thing));
        Ok(Session::open(&self.dialer, &self.thing, &identity, filters).await)
    }

    async fn serve(
        &mut self,
        session: Session,
        tried: Tried,
        backoff: &mut Backoff,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Next, Failure> {
        let since = Instant::now();
        let (act, certificate_id) = self
            .kept(move |keeper| {
                let act = keeper.connected(tried)?;
                Ok((act, keeper.certificate_id(Tried::Current)))
            })
            .await?;
        self.note(|vitals| {
            vitals.connected = true;
            vitals.connections += 1;
        });
        self.tell(News::Connected {
            certificate_id: certificate_id.clone(),
        });
        if tried == Tried::Staged {
            self.tell(News::Promoted {
                certificate_id: certificate_id.clone(),
            });
        }
        let shift = Shift::begin(self, session, certificate_id, act);
        let left = shift.run(stop).await;
        self.jobs.say(Heard::Lost);
        self.note(|vitals| vitals.connected = false);
        Ok(match left? {
            Leave::Stop => Next::Stop,
            Leave::Restart => Next::Restart,
            Leave::Connect(tried) => Next::Connect(tried, Duration::ZERO),
            Leave::Lost(reason) => {
                let wait = backoff.after(Some(since.elapsed()), drawn());
                self.tell(News::Disconnected {
                    reason,
                    again_in_millis: millis(wait),
                });
                let start = self.kept(|keeper| Ok(keeper.wallet().start())).await?;
                Next::Connect(start, wait)
            }
        })
    }

    async fn cut(&self, cut: Cut, tried: Tried, backoff: &mut Backoff) -> Result<Next, Failure> {
        let reason = match cut {
            Cut::Unreachable(reason) => {
                let wait = backoff.after(None, drawn());
                self.tell(News::Disconnected {
                    reason,
                    again_in_millis: millis(wait),
                });
                return Ok(Next::Connect(tried, wait));
            }
            Cut::Refused(reason) => reason,
        };
        let (certificate_id, act) = self
            .kept(move |keeper| {
                let certificate_id = keeper.certificate_id(tried);
                Ok((certificate_id, keeper.refused(tried)?))
            })
            .await?;
        self.tell(News::Refused {
            certificate_id,
            reason,
        });
        let next = match act {
            Act::Connect(next) => next,
            _ => Tried::Current,
        };
        // From a new certificate the device goes straight back to the current
        // one, so that it stays on the air.
        let wait = match tried {
            Tried::Staged => Duration::ZERO,
            Tried::Current => backoff.after(None, drawn()),
        };
        Ok(Next::Connect(next, wait))
    }

    /// Looks whether the operator has brought a pair; answers what is to be done
    /// with it. One that is no pair stays where it is, and is warned of.
    pub(super) async fn look(&self, connected: bool) -> Result<Option<Act>, Failure> {
        let taken = self
            .kept(move |keeper| Ok(keeper.take_renewed(connected)))
            .await?;
        match taken {
            Ok(taken) => Ok(taken.map(|taken| {
                self.tell(News::HandedOut {
                    rotation_id: taken.rotation_id,
                    certificate_id: taken.certificate_id,
                });
                taken.act
            })),
            Err(failure) if failure.exit == Exit::Refused => {
                self.tell(News::Warned {
                    reason: failure.text(),
                });
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Works with the keeper, off the runtime: it waits for the disk.
    pub(super) async fn kept<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keeper) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let keeper = Arc::clone(&self.keeper);
        let (result, rotating) = tokio::task::spawn_blocking(move || {
            let mut keeper = keeper.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut keeper);
            (result, keeper.wallet().owes() != Act::Stay)
        })
        .await
        .map_err(|error| Failure::failed(format!("the keeper: {error}"), ""))?;
        self.note(|vitals| vitals.rotating = rotating);
        result
    }

    /// Tells those who watch. Nobody may be watching any more.
    pub(super) fn tell(&self, news: News) {
        let _ = self.wire.send(Line {
            at: now(),
            thing_name: self.thing.clone(),
            news,
        });
    }

    /// Changes how the device is doing.
    pub(super) fn note(&self, change: impl FnOnce(&mut Vitals)) {
        change(&mut self.vitals.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

fn jobs_of(thing: &ThingName, habits: &Habits, wire: &Wire) -> Result<Jobs, Failure> {
    let (first, every) = (&habits.first_firmware, habits.repeat_every);
    Jobs::start(thing, &habits.jobs, first, every, wire)
}

/// Until the device is to stop, or nobody is left who could say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(super) fn now() -> Moment {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Moment(millis(since))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn drawn() -> u64 {
    u64::from_le_bytes(random())
}

#[cfg(test)]
mod tests;
