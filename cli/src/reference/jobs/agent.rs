//! What carries a device's jobs out, whether or not it is connected: one task,
//! which takes in what is heard, and asks the device to say what is to be said.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lamplighter_domain::job::execution::{Act, Exit, Offer, Output, Progress, Run, Status, Update};
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::rotation::job::HANDLER;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::leftovers;
use super::process::{self, Ended};
use super::protocol::{self, Ask, Told};
use super::reason;
use super::record::Record;
use super::task::Task;
use super::{Heard, Order, Settings};
use crate::failure::Failure;
use crate::reference::{Line, News, Wire, device};

/// How often it looks whether a handler wants the light restarted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the time between two repetitions is doubled, at most.
const DOUBLINGS: u32 = 4;
/// Nothing is due before.
const FAR: Duration = Duration::from_hours(1);

/// What is asked or said, and not answered yet.
struct Asking {
    ask: Ask,
    token: String,
    again_at: Instant,
    times: u32,
}

/// The step under way.
enum Work {
    /// A program, which is ended when it is not wanted any more.
    Handler(Task<Ended>, oneshot::Sender<()>),
    /// A renewal, which the rotation's messages carry on.
    Renewal(OperationId),
}

/// A device's jobs.
pub(super) struct Agent {
    pub(super) thing: ThingName,
    pub(super) settings: Arc<Settings>,
    pub(super) record: Record,
    /// This start of the light.
    pub(super) boot: String,
    pub(super) repeat_every: Duration,
    pub(super) wire: Wire,
    pub(super) heard: UnboundedReceiver<Heard>,
    pub(super) orders: UnboundedSender<Order>,
    pub(super) state: State,
}

/// How things stand.
#[derive(Default)]
pub(super) struct State {
    /// The execution under way, as it is on the disk.
    progress: Option<Progress>,
    work: Option<Work>,
    /// Whether the device is connected, and hears what AWS says of its jobs.
    listening: bool,
    /// Whether AWS has no execution for it.
    idle: bool,
    asking: Option<Asking>,
    asked: u64,
    /// When the step under way began, or was last known to be wanted.
    wanted_at: Option<Instant>,
}

impl Agent {
    /// Works until the device goes, or is to be restarted.
    pub(super) async fn live(mut self) {
        let last = match self.work().await {
            Ok(true) => Order::Restart,
            Ok(false) => return,
            Err(failure) => Order::Fail(failure),
        };
        self.order(last);
    }

    /// Whether the light is to be restarted.
    async fn work(&mut self) -> Result<bool, Failure> {
        self.state.progress = self.record.progress()?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.proceed().await?;
            let again_at = self.state.asking.as_ref().map(|asking| asking.again_at);
            let runs = matches!(self.state.work, Some(Work::Handler(..)));
            let look_at = self.looks_at();
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    Some(heard) => self.hear(heard).await?,
                    None => return Ok(false),
                },
                ended = ended(&mut self.state.work) => {
                    self.clear(ended.gone).await;
                    self.finish(&ended.exit, &ended.output).await?;
                }
                () = sleep_until(again_at.unwrap_or_else(|| Instant::now() + FAR)) => self.repeat(),
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    self.ask(Ask::Mine);
                }
                _ = look.tick(), if runs => if self.record.wants_restart() {
                    self.tell(News::Restarting);
                    return Ok(true);
                },
            }
        }
    }

    /// Does what is next, if anything is.
    async fn proceed(&mut self) -> Result<(), Failure> {
        while self.state.work.is_none() {
            let Some(progress) = self.state.progress.clone() else {
                let waits = self.state.idle || self.state.asking.is_some();
                if self.state.listening && !waits {
                    self.ask(Ask::Next);
                }
                return Ok(());
            };
            match progress.next() {
                Act::Report(update) => {
                    let ask = Ask::Report(update);
                    let asking = self.state.asking.as_ref();
                    if self.state.listening && asking.is_none_or(|asking| asking.ask != ask) {
                        self.ask(ask);
                    }
                    return Ok(());
                }
                Act::Run(run) => {
                    let begun = progress.begun(&self.boot);
                    let given_up = begun.end.is_some();
                    self.keep(Some(begun)).await?;
                    if !given_up {
                        self.begin(&run);
                    }
                }
            }
        }
        Ok(())
    }

    /// When it is to ask whether the handler that runs is still wanted. Of an
    /// execution that AWS ended and gives again, nothing else may tell: it is the
    /// same job that is next.
    fn looks_at(&self) -> Option<Instant> {
        let runs = matches!(self.state.work, Some(Work::Handler(..)));
        let asks = runs && self.state.listening && self.state.asking.is_none();
        let since = self.state.wanted_at.filter(|_| asks)?;
        Some(since + self.repeat_every)
    }

    /// Begins a step, which is on the disk as begun.
    fn begin(&mut self, run: &Run) {
        self.state.wanted_at = Some(Instant::now());
        self.tell(News::JobStep {
            job_id: run.env[0].1.clone(),
            handler: run.handler.clone(),
            run: run.env[1].1.clone(),
        });
        let own = run.handler == HANDLER && run.folder.is_none();
        self.state.work = Some(if own {
            let id = run.args.get(1).map_or("", String::as_str);
            match OperationId::parse(id) {
                Ok(rotation) => {
                    self.order(Order::Renew(rotation.clone()));
                    Work::Renewal(rotation)
                }
                Err(failure) => not_started(failure.reason),
            }
        } else {
            self.handler(run)
        });
    }

    fn handler(&self, run: &Run) -> Work {
        let named = run.user.as_ref();
        let user = named.and_then(|name| self.settings.users.get(name).copied());
        if named.is_some() && user.is_none() {
            return not_started(format!("nothing is run as {}", run.args[0]));
        }
        if let Some(Err(error)) = user.map(|user| self.record.give_to(user)) {
            return not_started(format!("its folder: {error}"));
        }
        let folder = run.folder.as_ref().map(Into::into);
        let Some(folder) = folder.or_else(|| self.settings.handlers.clone()) else {
            return not_started("there is no folder of handlers".to_owned());
        };
        // What an earlier handler wished for is not this one's wish.
        let _ = self.record.wants_restart();
        let mark = self.state.progress.as_ref().and_then(leftovers::mark);
        let Some(mark) = mark else {
            return not_started("it was not stored as begun".to_owned());
        };
        let command = process::command(run, &mark, &folder, &self.record.work(), user);
        let (wanted, unwanted) = oneshot::channel();
        let unwanted = async {
            let _ = unwanted.await;
        };
        let run = process::run(command, self.settings.patience, unwanted);
        Work::Handler(Task::spawn(run), wanted)
    }

    /// Ends what the step under way has left running, in whichever group, before
    /// anything else begins. Whether its handler is gone is known already.
    async fn clear(&self, gone: bool) {
        let mark = self.state.progress.as_ref().and_then(leftovers::mark);
        let none_left = match mark {
            None => true,
            Some(mark) => {
                let end = tokio::task::spawn_blocking(move || leftovers::end(&mark));
                end.await.unwrap_or(false)
            }
        };
        if !(gone && none_left) {
            let reason = leftovers::REMAINS.to_owned();
            self.tell(News::Warned { reason });
        }
    }

    /// A step has ended: that is on the disk before it is reported.
    async fn finish(&mut self, exit: &Exit, output: &Output) -> Result<(), Failure> {
        self.state.work = None;
        let Some(progress) = self.state.progress.clone() else {
            return Ok(());
        };
        self.keep(Some(reason::told(progress.finished(exit, output))))
            .await
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), Failure> {
        match heard {
            Heard::Listening => {
                self.state.listening = true;
                self.state.idle = false;
                self.state.asking = None;
                if self.state.work.is_some() {
                    self.ask(Ask::Mine);
                }
                self.remind();
                Ok(())
            }
            Heard::Lost => {
                self.state.listening = false;
                self.state.asking = None;
                Ok(())
            }
            Heard::Renewed(rotation) => match &self.state.work {
                Some(Work::Renewal(ours)) if *ours == rotation => {
                    self.finish(&Exit::Code(0), &Output::default()).await
                }
                // Another one had to be brought to its end first.
                _ => {
                    self.remind();
                    Ok(())
                }
            },
            Heard::GaveUp(rotation, reason) => match &self.state.work {
                Some(Work::Renewal(ours)) if *ours == rotation => {
                    let mut output = Output::default();
                    let _ = output.err(reason.as_bytes());
                    self.finish(&Exit::Code(1), &output).await
                }
                _ => Ok(()),
            },
            Heard::Message { topic, payload } => {
                match Told::read(&self.thing, &topic, &payload) {
                    Some(Ok(told)) => self.take_in(told).await?,
                    Some(Err(reason)) => self.tell(News::Warned { reason }),
                    None => {}
                }
                Ok(())
            }
        }
    }

    async fn take_in(&mut self, told: Told) -> Result<(), Failure> {
        let asking = self.state.asking.as_ref();
        let asked = |token: &str| {
            let asking = asking.filter(|asking| asking.token == token);
            asking.map(|asking| asking.ask.clone())
        };
        match told {
            Told::Next(offer) => self.next(offer).await,
            Told::Accepted { token, offer } => match asked(&token) {
                Some(Ask::Next) => self.next(offer).await,
                Some(Ask::Mine) => {
                    self.state.asking = None;
                    self.state.wanted_at = Some(Instant::now());
                    Ok(())
                }
                Some(Ask::Report(update)) => self.accepted(&update).await,
                None => Ok(()),
            },
            Told::Rejected {
                token,
                code,
                message,
                status,
            } => {
                let reason = format!("{code}: {message}");
                match asked(&token) {
                    _ if protocol::passes(&code) => Ok(()),
                    Some(Ask::Next) => {
                        self.tell(News::Warned { reason });
                        Ok(())
                    }
                    // What was said before was heard, and its answer lost.
                    Some(Ask::Report(update)) if status.as_deref() == Some(name(update.status)) => {
                        self.accepted(&update).await
                    }
                    Some(_) => self.over(reason).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// AWS says which execution is next, or that none is.
    async fn next(&mut self, offer: Option<Offer>) -> Result<(), Failure> {
        let Some(progress) = &self.state.progress else {
            self.state.asking = None;
            self.state.idle = offer.is_none();
            return match offer {
                None => Ok(()),
                Some(offer) => self.take_up(offer).await,
            };
        };
        let ours = offer.as_ref().is_some_and(|offer| progress.is(offer));
        // Another one is next: this one may have been cancelled, or timed out.
        if !ours && progress.end.is_none() && self.state.listening {
            self.ask(Ask::Mine);
        }
        Ok(())
    }

    async fn take_up(&mut self, offer: Offer) -> Result<(), Failure> {
        self.tell(News::JobOffered {
            job_id: offer.job_id.clone(),
            execution: offer.execution_number,
        });
        let progress = Progress::begin(offer, &self.settings.rules());
        self.keep(Some(progress)).await
    }

    /// AWS has what was reported.
    async fn accepted(&mut self, update: &Update) -> Result<(), Failure> {
        self.state.asking = None;
        let Some(progress) = self.state.progress.clone() else {
            return Ok(());
        };
        if progress.end.is_some() {
            self.tell(News::JobEnded {
                job_id: progress.job_id.clone(),
                status: name(update.status),
                reason: update.status_details.get("reason").cloned(),
            });
            self.state.idle = false;
        }
        self.keep(progress.accepted()).await
    }

    /// The execution is not wanted any more: what runs for it is ended.
    async fn over(&mut self, reason: String) -> Result<(), Failure> {
        if let Some(Work::Handler(mut handler, wanted)) = self.state.work.take() {
            drop(wanted);
            let gone = handler.end().await.is_ok_and(|ended| ended.gone);
            self.clear(gone).await;
        }
        self.state.asking = None;
        self.state.idle = false;
        if let Some(progress) = &self.state.progress {
            self.tell(News::JobOver {
                job_id: progress.job_id.clone(),
                reason,
            });
        }
        self.keep(None).await
    }

    /// Asks or says something, which takes the place of what was asked before.
    fn ask(&mut self, ask: Ask) {
        self.state.asking = Some(Asking {
            ask,
            token: String::new(),
            again_at: Instant::now(),
            times: 0,
        });
        self.repeat();
    }

    /// Says it again, under another token.
    fn repeat(&mut self) {
        let Some(asking) = &mut self.state.asking else {
            return;
        };
        self.state.asked += 1;
        asking.token = format!("{}-{}", self.boot, self.state.asked);
        let wait = self.repeat_every * 2_u32.pow(asking.times.min(DOUBLINGS));
        asking.again_at = Instant::now() + wait;
        asking.times += 1;
        let mine = self.state.progress.as_ref();
        if let Some((topic, message)) = asking.ask.message(&self.thing, mine, &asking.token) {
            self.order(Order::Publish(topic, message));
        }
    }

    /// Has the device carry on with the renewal that a job has asked for.
    fn remind(&self) {
        if let Some(Work::Renewal(rotation)) = &self.state.work {
            self.order(Order::Renew(rotation.clone()));
        }
    }

    /// Stores how far the execution is, off the runtime: it waits for the disk.
    async fn keep(&mut self, progress: Option<Progress>) -> Result<(), Failure> {
        let record = self.record.clone();
        let kept = tokio::task::spawn_blocking(move || {
            record.keep(progress.as_ref())?;
            Ok::<_, Failure>(progress)
        });
        let kept = kept
            .await
            .map_err(|error| Failure::failed(format!("the record: {error}"), ""));
        self.state.progress = kept??;
        Ok(())
    }

    /// The device may have gone.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    fn tell(&self, news: News) {
        let _ = self.wire.send(Line {
            at: device::now(),
            thing_name: self.thing.clone(),
            news,
        });
    }
}

/// The end of a handler that runs.
async fn ended(work: &mut Option<Work>) -> Ended {
    match work {
        Some(Work::Handler(task, _)) => task.end().await.unwrap_or_else(Ended::not_started),
        _ => pending().await,
    }
}

fn not_started(reason: String) -> Work {
    let (wanted, _) = oneshot::channel();
    Work::Handler(Task::spawn(async { Ended::not_started(reason) }), wanted)
}

/// A status as AWS spells it.
const fn name(status: Status) -> &'static str {
    match status {
        Status::InProgress => "IN_PROGRESS",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::Rejected => "REJECTED",
    }
}
