//! Every event of a rotation comes twice, in any order after what caused it and
//! several at once; the events of the rotation before come again in the midst
//! of the next one. The end is the same (invariants 1, 2 and 6).

use futures_util::future::join_all;
use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::inventory::{principals, row, state_of};
use lamplighter_tests::rotation::{Event, Light, delivered, invoke};
use serde_json::{Value, json};

const SEEDS: u64 = 10;

/// A rotation takes some ten deliveries; this is one that goes round and round.
const MOST_BATCHES: usize = 100;

/// `SplitMix64`: a shuffle that its seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(limit).expect("a limit")).expect("a number below it")
    }
}

/// What has been caused and not yet come, and all that has ever been.
#[derive(Default)]
struct Underway {
    pending: Vec<Value>,
    caused: Vec<Value>,
}

impl Underway {
    /// It will come twice.
    fn cause(&mut self, event: Value) {
        self.pending.extend([event.clone(), event.clone()]);
        self.caused.push(event);
    }

    /// Up to three that come at once.
    fn batch(&mut self, dice: &mut Dice) -> Vec<Value> {
        let many = 1 + dice.below(3);
        (0..many)
            .filter_map(|_| match self.pending.len() {
                0 => None,
                left => Some(self.pending.swap_remove(dice.below(left))),
            })
            .collect()
    }
}

/// A lifecycle event, as its rule selects it.
fn lifecycle(light: &Light, event: &str, principal: &str, at: u64) -> Value {
    json!({
        "clientId": light.thing, "eventType": event, "principalIdentifier": principal, "timestamp": at,
    })
}

/// Delivers an event once, with what may be said to it.
async fn once(cloud: &Cloud, event: &Value) {
    let reply = invoke(cloud, event, None).await;
    let error = reply.json()["errorType"].clone();
    assert!(
        reply.status == 200 && (error.is_null() || error == "Busy"),
        "{event}: {} {}",
        reply.status,
        reply.text
    );
}

/// Carries one rotation to its end, with `late` coming again in between;
/// answers all that came.
async fn rotate(cloud: &Cloud, light: &Light, dice: &mut Dice, late: &[Value]) -> Vec<Value> {
    let mut underway = Underway::default();
    underway.cause(light.event(cloud, Event::Step).await);
    underway.pending.extend(late.iter().cloned());
    let (mut asked, mut issued) = (false, false);
    for _ in 0..MOST_BATCHES {
        let batch = underway.batch(dice);
        join_all(batch.iter().map(|event| once(cloud, event))).await;
        let row = light.row(cloud).await;
        if row["rotationId"]["S"] == *light.rotation && !asked {
            asked = true;
            underway.cause(lifecycle(light, "subscribed", &light.old, 1));
            underway.cause(light.event(cloud, Event::Request).await);
        }
        if row["phase"]["S"] == "ISSUED" && !issued {
            issued = true;
            let new = light.new_id(cloud).await;
            underway.cause(lifecycle(light, "disconnected", &light.old, 2));
            underway.cause(lifecycle(light, "subscribed", &new, 3));
            underway.cause(light.event(cloud, Event::Proof).await);
        }
        if underway.pending.is_empty() {
            if row["phase"]["S"] == "DONE" {
                return underway.caused;
            }
            // The workflow looks again, once its wait is over.
            light.pass(cloud, Some("removeAt")).await;
            let step = light.event(cloud, Event::Step).await;
            underway.pending.extend([step.clone(), step]);
        }
    }
    panic!("it goes round: {}", light.row(cloud).await);
}

/// The device's only certificate is the one that it proved last.
async fn has_only(cloud: &Cloud, light: &Light, new: &str) {
    let record = row(cloud, &format!("DEVICE#{}", light.thing), "RECORD").await;
    assert_eq!(record["certificateId"]["S"], *new);
    let attached = principals(cloud, &light.thing).await;
    assert!(
        attached.len() == 1 && attached[0].ends_with(new),
        "{attached:?} {new}"
    );
}

/// Two rotations of one device, each event once and in turn.
async fn in_turn(cloud: &Cloud) -> Value {
    let mut light = Light::new(cloud).await;
    for _ in 0..2 {
        for event in [Event::Step, Event::Request, Event::Step, Event::Proof] {
            delivered(cloud, &light.event(cloud, event).await, None).await;
        }
        for _ in 0..2 {
            delivered(cloud, &light.event(cloud, Event::Step).await, None).await;
            light.pass(cloud, Some("removeAt")).await;
        }
        let new = light.new_id(cloud).await;
        has_only(cloud, &light, &new).await;
        light = light.again(new);
    }
    state_of(cloud, &light.thing).await
}

async fn shuffled(cloud: &Cloud, seed: u64, in_turn: &Value) {
    let mut dice = Dice(seed);
    let light = Light::new(cloud).await;
    let late = rotate(cloud, &light, &mut dice, &[]).await;
    let first = light.new_id(cloud).await;
    has_only(cloud, &light, &first).await;
    let light = light.again(first);
    rotate(cloud, &light, &mut dice, &late).await;
    let second = light.new_id(cloud).await;
    has_only(cloud, &light, &second).await;
    assert_eq!(state_of(cloud, &light.thing).await, *in_turn, "seed {seed}");
}

#[tokio::test]
async fn events_that_come_twice_and_in_any_order_lead_to_the_same_end() {
    let cloud = &Cloud::open();
    let in_turn = &in_turn(cloud).await;
    join_all((0..SEEDS).map(|seed| shuffled(cloud, seed, in_turn))).await;
}
