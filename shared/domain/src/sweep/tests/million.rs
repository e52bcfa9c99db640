//! A million due certificates in virtual time, against AWS's quotas.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::device::Issuer;
use crate::due::SHARDS;
use crate::due::walk::{Read, Row};
use crate::names::{CertificateId, SweepId, ThingName};
use crate::rotation::Messenger;
use crate::sweep::budget::{Budget, Quotas, Wishes};
use crate::sweep::page::{Otherwise, Page, Standing};
use crate::sweep::{Forecast, Sweep};
use crate::time::{DAY_MILLIS, Day, Moment};

const SECOND: u64 = 1_000_000;
/// Over this window no API is called more often than its budget allows. Within
/// it the devices' own time makes calls bunch.
const WINDOW: u64 = 300 * SECOND;
/// How long it takes to plan a page and to begin with it, in milliseconds.
const PLANNING: u64 = 1500;

/// A call that each rotation makes once, and its quota as AWS applies it: a
/// bucket that holds a second's worth.
struct Api {
    call: Call,
    per_second: u64,
    /// In millionths of a request.
    tokens: u64,
    refilled: u64,
    recent: VecDeque<u64>,
    /// The most requests in any window.
    most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    CreateJob,
    Issue,
    UpdateCertificate,
    CancelJob,
    DeleteJob,
    DeleteCertificate,
}

impl Call {
    /// How long after the call before it, at least and at most.
    fn after(self) -> (u64, u64) {
        match self {
            Self::CreateJob | Self::DeleteJob => (0, 1),
            // It makes a key and a request; it stores the new pair, reconnects,
            // promotes and proves.
            Self::Issue | Self::UpdateCertificate => (SECOND, 20 * SECOND),
            Self::CancelJob | Self::DeleteCertificate => (600 * SECOND, 1),
        }
    }
}

impl Api {
    fn new((call, per_second): (Call, u32)) -> Self {
        let per_second = u64::from(per_second);
        Self {
            call,
            per_second,
            tokens: per_second * SECOND,
            refilled: 0,
            recent: VecDeque::new(),
            most: 0,
        }
    }

    fn admits(&mut self, now: u64) -> bool {
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| at + WINDOW <= now) {
            self.recent.pop_front();
        }
        self.most = self.most.max(self.recent.len());
        let refill = (now - self.refilled) * self.per_second;
        self.tokens = (self.tokens + refill).min(self.per_second * SECOND);
        self.refilled = now;
        let admitted = self.tokens >= SECOND;
        self.tokens -= if admitted { SECOND } else { 0 };
        admitted
    }
}

/// The fleet, its index, and AWS. Times are in microseconds from 1970.
struct World {
    calls: BinaryHeap<Reverse<(u64, u32, u8, u8)>>,
    apis: Vec<Api>,
    /// Of every certificate: how often started, and how many calls were made.
    started: Vec<u8>,
    made: Vec<u8>,
    retired: u64,
    last_retired: u64,
    attempts: u64,
    throttled: u64,
    injected_percent: u64,
    dice: u64,
}

/// The fleet's certificates fell due on these many days.
const DAYS: u64 = 10;
const BEGIN: Moment = Moment(20_000 * DAY_MILLIS + 3 * 60 * 60 * 1000);

impl World {
    fn new(certificates: usize, quotas: &Quotas, by: (Issuer, Messenger), injected: u64) -> Self {
        let issuing = match by.0 {
            Issuer::AwsIot => quotas.create_certificate_from_csr,
            Issuer::KmsCa => quotas.register_certificate_without_ca,
        };
        let certificate_calls = [
            (Call::Issue, issuing),
            (Call::UpdateCertificate, quotas.update_certificate),
            (Call::DeleteCertificate, quotas.delete_certificate),
        ];
        let job_calls = [Call::CreateJob, Call::CancelJob, Call::DeleteJob];
        let mut apis: Vec<_> = certificate_calls.to_vec();
        if by.1 == Messenger::Job {
            apis.extend(job_calls.map(|call| (call, quotas.jobs)));
        }
        apis.sort_by_key(|(call, _)| *call as u8);
        Self {
            calls: BinaryHeap::new(),
            apis: apis.into_iter().map(Api::new).collect(),
            started: vec![0; certificates],
            made: vec![0; certificates],
            retired: 0,
            last_retired: 0,
            attempts: 0,
            throttled: 0,
            injected_percent: injected,
            dice: 7,
        }
    }

    /// `SplitMix64` (Steele, Lea, Flood), below `bound`.
    fn roll(&mut self, bound: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn start(&mut self, certificate: u32, at: Moment) {
        self.started[certificate as usize] += 1;
        // The device makes a key and a signing request; some of those in the
        // first half of the fleet take six hours to wake up.
        let slow =
            certificate.is_multiple_of(1000) && (certificate as usize) < self.started.len() / 2;
        let wakes = if slow { 6 * 3600 * SECOND } else { 0 };
        self.comes(certificate, 0, at.0 * 1000 + wakes);
    }

    /// The call that follows at this time, if one does.
    fn comes(&mut self, certificate: u32, api: u8, since: u64) {
        if let Some(next) = self.apis.get(usize::from(api)) {
            let (least, most) = next.call.after();
            let at = since + least + self.roll(most);
            self.calls.push(Reverse((at, certificate, api, 0)));
        }
    }

    fn run_until(&mut self, moment: Moment) {
        while let Some(Reverse((at, certificate, api, attempt))) = self.calls.peek().copied() {
            if at > moment.0 * 1000 {
                return;
            }
            self.calls.pop();
            self.attempts += 1;
            let admitted = self.apis[usize::from(api)].admits(at);
            if !admitted || self.roll(100) < self.injected_percent {
                self.throttled += 1;
                let later = at + self.roll(SECOND << attempt.min(6));
                self.calls
                    .push(Reverse((later, certificate, api, attempt + 1)));
                continue;
            }
            self.made[certificate as usize] += 1;
            if self.apis[usize::from(api)].call == Call::UpdateCertificate {
                self.retired += 1;
                self.last_retired = at;
            }
            self.comes(certificate, api + 1, at);
        }
    }

    /// The index: equal parts of the fleet on each of the days before.
    fn read(&self, read: &Read) -> (Vec<(Row, Standing)>, bool) {
        let Some(day) = (0..DAYS).find(|n| first_day().plus(*n) == read.position.day) else {
            return (Vec::new(), false);
        };
        let a_shard = self.started.len() as u64 / DAYS / u64::from(SHARDS);
        let first = (day * u64::from(SHARDS) + u64::from(read.position.shard)) * a_shard;
        let from = match &read.position.after {
            Some(mark) => number(&mark.thing_name) + 1,
            None => first,
        };
        let mut rows = (from..first + a_shard)
            .filter(|n| usize::from(self.made[to_index(*n)]) + 1 < self.apis.len())
            .map(|n| (row(n, read.position.day), self.standing(n)));
        let found: Vec<_> = rows.by_ref().take(read.limit).collect();
        (found, rows.next().is_some())
    }

    fn standing(&self, number: u64) -> Standing {
        if self.started[to_index(number)] == 0 {
            Standing::Due
        } else {
            Standing::InFlight
        }
    }
}

fn to_index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn first_day() -> Day {
    Day::of(BEGIN).minus(DAYS)
}

fn row(number: u64, day: Day) -> Row {
    Row {
        thing_name: ThingName::parse(&format!("light-{number:07}")).unwrap(),
        certificate_id: CertificateId::parse(&format!("{number:064x}")).unwrap(),
        issuer: Issuer::KmsCa,
        due_at: day.start().plus_millis(number % DAY_MILLIS),
        not_after: day.start(),
    }
}

fn number(name: &ThingName) -> u64 {
    name.as_str()["light-".len()..].parse().unwrap()
}

/// One sweep, as the workflow runs it. When it ended.
fn run_sweep(world: &mut World, mut sweep: Sweep, mut now: Moment) -> (Sweep, Moment) {
    loop {
        world.run_until(now);
        let mut page = Page::new(&sweep, now);
        while let Some(read) = page.next_read() {
            let (found, more) = world.read(&read);
            page.take(found, more);
        }
        let planned = page.finish();
        let begins = now.plus_millis(PLANNING);
        match (planned.starts.last(), planned.otherwise) {
            (Some(last), _) => now = last.start_at.0.max(begins),
            (None, Otherwise::Again(seconds)) => now = now.plus_millis(seconds * 1000),
            (None, Otherwise::Over) => {
                sweep.advance(planned.progress);
                sweep.close(now);
                return (sweep, now);
            }
        }
        for start in &planned.starts {
            let at = start.start_at.0.max(begins);
            let certificate = u32::try_from(number(&start.thing_name)).unwrap();
            world.start(certificate, at);
        }
        sweep.advance(planned.progress);
    }
}

fn check(certificates: usize, by: (Issuer, Messenger), quotas: Quotas, injected_percent: u64) {
    let budget = Budget::new(&quotas, &Wishes::default(), by.1).unwrap();
    let mut world = World::new(certificates, &quotas, by, injected_percent);
    let mut oldest = first_day();
    let mut promised = None;
    for day in 0..10 {
        let now = BEGIN.plus_millis(day * DAY_MILLIS);
        world.run_until(now);
        let due = (certificates as u64).saturating_sub(world.retired);
        if due == 0 {
            break;
        }
        promised.get_or_insert(budget.done_at(now, due));
        let forecast = Forecast { due, oldest };
        let id = SweepId::from_key(&day.to_string());
        let sweep = Sweep::new(id, "schedule", false, budget, &forecast, now);
        let (ended, at) = run_sweep(&mut world, sweep, now);
        assert!(now.until(at) < DAY_MILLIS, "ended before the next begins");
        assert!(oldest <= ended.oldest_day());
        oldest = ended.oldest_day();
    }
    world.run_until(BEGIN.plus_millis(30 * DAY_MILLIS));

    assert!(
        world.started.iter().all(|started| *started == 1),
        "each once"
    );
    let apis = world.apis.len();
    let all_made = |made: &u8| usize::from(*made) == apis;
    assert!(world.made.iter().all(all_made), "none was lost");
    let calls = (certificates * apis) as u64;
    let ideal = certificates as u64 * 1000 * 2 / u64::from(quotas.bottleneck(by.1));
    let ended = Moment(world.last_retired / 1000);
    let total = BEGIN.until(ended);
    assert!(
        (ideal * 100..ideal * 105).contains(&(total * 100)),
        "{total} ms for {ideal} ms"
    );
    let promised: Moment = promised.unwrap();
    let off = promised.0.abs_diff(ended.0);
    assert!(off < 120_000, "{off} ms off the estimate");
    for api in &world.apis {
        let allowed = api.per_second * (WINDOW / SECOND) / 2;
        assert!(
            api.most as u64 <= allowed,
            "{} in {} s, allowed {allowed}",
            api.most,
            WINDOW / SECOND
        );
    }
    let (attempts, throttled) = (world.attempts, world.throttled);
    assert!(attempts * 100 < calls * 105, "{attempts} for {calls} calls");
    let own = throttled.saturating_sub(attempts * injected_percent / 100);
    assert!(own * 1000 < attempts, "{own} throttled by the quotas");
}

#[test]
fn a_million_within_half_the_quotas_and_five_percent_of_the_time() {
    let by = (Issuer::AwsIot, Messenger::Mqtt);
    check(1_000_000, by, Quotas::default(), 0);
}

#[test]
fn a_million_with_one_in_a_hundred_calls_throttled() {
    let by = (Issuer::KmsCa, Messenger::Mqtt);
    check(1_000_000, by, Quotas::default(), 1);
}

/// An account whose other quotas were raised: jobs are the bottleneck.
#[test]
fn half_a_million_told_by_jobs_at_the_rate_of_jobs() {
    let raised = Quotas {
        update_certificate: 100,
        delete_certificate: 100,
        create_certificate_from_csr: 100,
        ..Quotas::default()
    };
    check(500_000, (Issuer::AwsIot, Messenger::Job), raised, 0);
}
