//! What a device does while it is connected: it publishes telemetry, hears
//! what it is told, and says again what was not answered.

use std::time::Duration;

use lamplighter_domain::names::{CertificateId, OperationId};
use lamplighter_domain::rotation::wallet::{Act, Tried};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::device::{Device, now, stopped};
use super::jobs::{Heard, Order, SUBSCRIPTIONS};
use super::protocol::{self, Accepted, Proof, Rejected, Renew, Request, Retired, Told};
use super::report;
use super::session::{Happening, Session};
use super::{Misbehaviour, News};
use crate::failure::Failure;

/// A broker that has not acknowledged anything for so long is gone, whatever
/// TCP says.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the device looks for a pair that its operator brings.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often the time between two repetitions is doubled, at most.
const DOUBLINGS: u32 = 4;

/// Why a shift ends.
pub(super) enum Leave {
    /// The device is to stop.
    Stop,
    /// The device is to connect with this pair.
    Connect(Tried),
    /// The device is to start anew.
    Restart,
    /// The connection ended.
    Lost(String),
}

/// One connection's worth of work.
pub(super) struct Shift<'a> {
    device: &'a mut Device,
    session: Session,
    /// What the connection was made with: the current certificate.
    certificate_id: CertificateId,
    /// What is to be done, and when. At first it waits for the subscriptions:
    /// an answer that comes before them is lost.
    act: Act,
    act_at: Option<Instant>,
    said: u32,
    look_at: Instant,
    /// Since when nothing was acknowledged of what was sent.
    waiting_since: Option<Instant>,
}

impl<'a> Shift<'a> {
    pub(super) fn begin(
        device: &'a mut Device,
        session: Session,
        certificate_id: CertificateId,
        act: Act,
    ) -> Self {
        Self {
            device,
            session,
            certificate_id,
            act,
            act_at: None,
            said: 0,
            look_at: Instant::now() + LOOK_EVERY,
            waiting_since: None,
        }
    }

    /// Works until there is a reason to leave.
    pub(super) async fn run(mut self, stop: &mut watch::Receiver<bool>) -> Result<Leave, Failure> {
        self.report();
        loop {
            let far = Instant::now() + Duration::from_hours(1);
            let act_at = self.act_at.unwrap_or(far);
            let gone_at = self.waiting_since.map_or(far, |since| since + PATIENCE);
            let leave = tokio::select! {
                () = stopped(stop) => Some(Leave::Stop),
                happening = self.session.next() => self.on(happening).await?,
                order = self.device.jobs.order() => self.obey(order).await?,
                () = sleep_until(act_at) => self.perform().await?,
                () = sleep_until(self.look_at) => {
                    self.look().await?;
                    None
                }
                () = sleep_until(self.device.telemetry_at) => {
                    self.measure();
                    None
                }
                () = sleep_until(gone_at) => {
                    let reason = format!("nothing was acknowledged for {} s", PATIENCE.as_secs());
                    Some(Leave::Lost(reason))
                }
            };
            match leave {
                None => {}
                Some(Leave::Lost(reason)) => return Ok(Leave::Lost(reason)),
                Some(leave) => {
                    self.session.close().await;
                    return Ok(leave);
                }
            }
        }
    }

    async fn on(&mut self, happening: Result<Happening, String>) -> Result<Option<Leave>, Failure> {
        match happening {
            Err(reason) => return Ok(Some(Leave::Lost(reason))),
            Ok(Happening::Acknowledged) => {
                self.waiting_since = None;
                let at = std::time::Instant::now();
                self.device.note(|vitals| vitals.gaps.acknowledge(at));
            }
            Ok(Happening::Subscribed { granted }) => {
                let refused = granted.iter().filter(|granted| !**granted).count();
                if refused > 0 {
                    let reason = format!("{refused} subscriptions were refused by policy");
                    self.device.tell(News::Warned { reason });
                }
                // AWS hangs up on who publishes what its policy does not allow.
                if granted
                    .iter()
                    .rev()
                    .take(SUBSCRIPTIONS)
                    .all(|granted| *granted)
                {
                    self.device.jobs.say(Heard::Listening);
                }
                self.schedule(self.act.clone(), Duration::ZERO);
            }
            Ok(Happening::Message { topic, payload }) => {
                match Told::read(&self.device.thing, &topic, &payload) {
                    Some(Ok(told)) => self.hear(told).await?,
                    Some(Err(reason)) => self.device.tell(News::Warned { reason }),
                    None if self.device.tunnels.hears(&topic) => {
                        self.device.tunnels.notified(&payload);
                    }
                    None => self.device.jobs.say(Heard::Message { topic, payload }),
                }
            }
        }
        Ok(None)
    }

    /// Does what the device's jobs want done.
    async fn obey(&mut self, order: Order) -> Result<Option<Leave>, Failure> {
        match order {
            Order::Publish(topic, message) => self.publish(topic, &message),
            Order::Renew(rotation_id) => {
                let renew = Renew {
                    rotation_id,
                    deadline: None,
                    reason: None,
                };
                self.hear(Told::Renew(renew)).await?;
            }
            Order::Restart => return Ok(Some(Leave::Restart)),
            Order::Fail(failure) => return Err(failure),
        }
        Ok(None)
    }

    /// Takes what the operator has brought, as it would an `accepted`.
    async fn look(&mut self) -> Result<(), Failure> {
        self.look_at = Instant::now() + LOOK_EVERY;
        if let Some(act) = self.device.look(true).await? {
            self.said = 0;
            self.schedule(act, Duration::ZERO);
        }
        Ok(())
    }

    /// Takes in what the device was told, stores what follows from it, and
    /// schedules what is to be done.
    async fn hear(&mut self, told: Told) -> Result<(), Failure> {
        let act = match told {
            Told::Renew(renew) => self.renew(renew).await?,
            Told::Accepted(accepted) => self.accepted(accepted).await?,
            Told::Rejected(rejected) => self.rejected(rejected).await?,
            Told::Retired(retired) => self.retired(retired).await?,
        };
        let (owed, patience) = self
            .device
            .kept(|keeper| Ok((keeper.wallet().owes(), keeper.wallet().try_after_millis())))
            .await?;
        let wait = match &act {
            Act::Connect(Tried::Staged) => Duration::from_millis(patience),
            // What was heard changes nothing in what is being said.
            Act::Stay if owed == self.act => return Ok(()),
            _ => Duration::ZERO,
        };
        self.said = 0;
        self.schedule(if act == Act::Stay { owed } else { act }, wait);
        Ok(())
    }

    async fn renew(&self, renew: Renew) -> Result<Act, Failure> {
        self.device.tell(News::Renew {
            rotation_id: renew.rotation_id.clone(),
            deadline: renew.deadline,
            reason: renew.reason,
        });
        if self.misbehaves(Misbehaviour::Ignore) {
            return Ok(Act::Stay);
        }
        let rotation = renew.rotation_id.clone();
        let (act, over) = self
            .device
            .kept(move |keeper| {
                let act = keeper.renew(&renew.rotation_id)?;
                let over = keeper.wallet().renewed.as_ref() == Some(&renew.rotation_id);
                Ok((act, over))
            })
            .await?;
        if over {
            self.device.jobs.say(Heard::Renewed(rotation));
        }
        Ok(act)
    }

    async fn accepted(&self, accepted: Accepted) -> Result<Act, Failure> {
        let pair = match accepted.pair() {
            Ok(pair) => pair,
            Err(reason) => {
                self.device.tell(News::Warned { reason });
                return Ok(Act::Stay);
            }
        };
        let rotation = accepted.rotation_id.clone();
        self.device.tell(News::Accepted {
            rotation_id: rotation.clone(),
            certificate_id: pair.certificate_id.clone(),
        });
        if self.misbehaves(Misbehaviour::NoStore) {
            return self
                .device
                .kept(move |keeper| keeper.make_key(rotation))
                .await;
        }
        self.device
            .kept(move |keeper| keeper.accepted(&rotation, pair, &accepted.certificate_pem))
            .await
    }

    async fn rejected(&self, rejected: Rejected) -> Result<Act, Failure> {
        let rotation = rejected.rotation_id.clone();
        let reason = rejected.reason.clone().unwrap_or_default();
        let comes_to_nothing = Heard::GaveUp(rotation.clone(), reason);
        self.device.tell(News::Rejected {
            rotation_id: rejected.rotation_id,
            code: rejected.code,
            reason: rejected.reason,
            remedy: rejected.remedy,
        });
        let (act, given_up) = self
            .device
            .kept(move |keeper| {
                let before = keeper.wallet().owes();
                let act = keeper.rejected(&rotation)?;
                Ok((act, before != keeper.wallet().owes()))
            })
            .await?;
        if given_up {
            self.device.note(|vitals| vitals.rejected += 1);
            self.device.jobs.say(comes_to_nothing);
        }
        Ok(act)
    }

    async fn retired(&self, retired: Retired) -> Result<Act, Failure> {
        let only = retired.certificate_id.clone();
        let proved = self
            .device
            .kept(move |keeper| {
                let before = keeper.wallet().clone();
                keeper.retired(&only)?;
                Ok(before != *keeper.wallet())
            })
            .await?;
        if proved {
            self.device.note(|vitals| vitals.rotated += 1);
            let renewed = retired.rotation_id.clone();
            self.device.jobs.say(Heard::Renewed(renewed));
            self.device.tell(News::Retired {
                rotation_id: retired.rotation_id,
                certificate_id: retired.certificate_id,
            });
        }
        Ok(Act::Stay)
    }

    /// Does what is due, and schedules its repetition.
    async fn perform(&mut self) -> Result<Option<Leave>, Failure> {
        match self.act.clone() {
            Act::Stay | Act::MakeKey(_) => {
                self.act_at = None;
                return Ok(None);
            }
            Act::Connect(tried) => return Ok(Some(Leave::Connect(tried))),
            Act::Request(rotation) => self.request(rotation).await?,
            Act::Prove(rotation) => self.prove(rotation),
        }
        let wait = self.device.habits.repeat_every * 2_u32.pow(self.said.min(DOUBLINGS));
        self.said += 1;
        self.schedule(self.act.clone(), wait);
        Ok(None)
    }

    async fn request(&mut self, rotation: OperationId) -> Result<(), Failure> {
        let Some(csr) = self.device.kept(|keeper| keeper.signing_request()).await? else {
            return Ok(());
        };
        let request = Request {
            rotation_id: &rotation,
            csr: &csr,
        };
        let document = serde_json::to_value(request).unwrap_or_default();
        self.publish(protocol::request_topic(&self.device.thing), &document);
        self.device.tell(News::Requested {
            rotation_id: rotation,
        });
        Ok(())
    }

    fn prove(&mut self, rotation: OperationId) {
        if self.misbehaves(Misbehaviour::RefuseProof) {
            return;
        }
        let proof = Proof {
            rotation_id: &rotation,
            certificate_id: &self.certificate_id,
        };
        let document = serde_json::to_value(proof).unwrap_or_default();
        self.publish(protocol::proof_topic(&self.device.thing), &document);
        self.device.tell(News::Proved {
            rotation_id: rotation,
        });
    }

    fn report(&mut self) {
        let version = &self.device.jobs.firmware;
        let uptime = self.device.uptime_seconds();
        let shadow = report::shadow(version, &self.certificate_id, uptime);
        self.publish(report::shadow_topic(&self.device.thing), &shadow);
    }

    fn measure(&mut self) {
        let telemetry = report::telemetry(self.device.sequence, &self.certificate_id, now());
        self.device.sequence += 1;
        self.device.telemetry_at = Instant::now() + self.device.habits.telemetry_every;
        self.publish(report::telemetry_topic(&self.device.thing), &telemetry);
    }

    fn publish(&mut self, topic: String, document: &Value) {
        if self
            .session
            .publish(topic, document.to_string().into_bytes())
        {
            self.waiting_since.get_or_insert_with(Instant::now);
        }
    }

    fn schedule(&mut self, act: Act, wait: Duration) {
        self.act_at = (act != Act::Stay).then(|| Instant::now() + wait);
        self.act = act;
    }

    fn misbehaves(&self, how: Misbehaviour) -> bool {
        self.device.habits.misbehaviour == Some(how)
    }
}
