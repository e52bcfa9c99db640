//! Random changes of a device, heard of twice and in any order: in the end the
//! stored membership is what asking every definition finds, and the steps lead
//! there (invariant 7).

use super::*;
use crate::group::Document;

const CHANGES: usize = 60;
const SEEDS: u64 = 300;

/// `SplitMix64`: what its seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// A device as AWS has it, and what AWS has said of it that was not heard yet.
struct World {
    thing: Thing,
    groups: BTreeSet<String>,
    shadows: BTreeMap<String, Shadow>,
    presence: Presence,
    session: u64,
    clock: u64,
    said: Vec<Event>,
}

impl World {
    fn new() -> Self {
        Self {
            thing: thing("id-1", 1, "60"),
            groups: BTreeSet::new(),
            shadows: BTreeMap::new(),
            presence: Presence::default(),
            session: 0,
            clock: 2_000_000,
            said: Vec::new(),
        }
    }

    fn say(&mut self, event: Event) {
        self.said.extend([event.clone(), event]);
    }

    fn change(&mut self, dice: &mut Dice) {
        self.clock += 700;
        match dice.below(10) {
            0..3 => {
                self.thing.version += 1;
                let wattage = [("wattage".to_owned(), dice.below(4).to_string())];
                self.thing.attributes = wattage.into();
                self.say(self.of_thing(false));
            }
            3..6 => self.change_shadow(dice),
            6 => {
                let group = ["milan", "turin", "rome"][dice.below(3)].to_owned();
                if !self.groups.remove(&group) {
                    self.groups.insert(group);
                }
                self.say(Event::Groups);
            }
            7 | 8 => self.change_presence(dice),
            _ => self.replace(dice),
        }
    }

    fn of_thing(&self, deleted: bool) -> Event {
        Event::Thing(ThingEvent {
            id: self.thing.id.clone(),
            version: self.thing.version,
            deleted,
            type_name: None,
            attributes: self.thing.attributes.clone(),
        })
    }

    fn change_shadow(&mut self, dice: &mut Dice) {
        let name = ["", "cfg"][dice.below(2)].to_owned();
        let known = self.shadows.get(&name);
        let version = known.map_or(0, |shadow| shadow.version);
        let state = json!({"reported": {"x": dice.below(4)}, "desired": {"x": dice.below(4)}});
        let is_there = known.is_some_and(|shadow| shadow.state.is_some());
        let shadow = if is_there && dice.below(4) == 0 {
            Shadow {
                version,
                at: Moment(self.clock),
                state: None,
            }
        } else {
            Shadow {
                version: version + 1,
                at: Moment(self.clock),
                state: Some(state.to_string()),
            }
        };
        self.shadows.insert(name.clone(), shadow.clone());
        self.say(Event::Shadow(ShadowEvent { name, shadow }));
    }

    fn change_presence(&mut self, dice: &mut Dice) {
        let end = |reason: &str| Happened::Disconnected(Some(reason.to_owned()));
        let old = self.session.to_string();
        let connected = self.presence.json()["connected"] == true;
        let mut happened = Vec::new();
        if connected && dice.below(2) == 0 {
            happened.push((old, end("CONNECTION_LOST")));
        } else {
            self.session += 1;
            happened.push((self.session.to_string(), Happened::Connected));
            if connected {
                happened.push((old, end("DUPLICATE_CLIENTID")));
            }
        }
        for (session, what) in happened {
            self.clock += 3;
            let event = Lifecycle {
                session,
                at: Moment(self.clock),
                what,
            };
            self.presence.take(event.clone());
            self.say(Event::Presence(event));
        }
    }

    /// Somebody deletes the thing and makes it anew.
    fn replace(&mut self, dice: &mut Dice) {
        self.say(self.of_thing(true));
        self.groups.clear();
        for (name, shadow) in self.shadows.clone() {
            let gone = Shadow {
                at: Moment(self.clock),
                state: None,
                ..shadow
            };
            self.shadows.insert(name.clone(), gone.clone());
            self.say(Event::Shadow(ShadowEvent { name, shadow: gone }));
        }
        self.thing = thing(&format!("id-{}", self.clock), 1, &dice.below(4).to_string());
        self.say(self.of_thing(false));
    }

    fn look(&self, wanted: Wanted) -> Observation {
        let there = self
            .shadows
            .iter()
            .filter(|(_, shadow)| shadow.state.is_some());
        Observation {
            thing: wanted.thing.then(|| Some(self.thing.clone())),
            groups: wanted.groups.then(|| self.groups.clone()),
            shadows: there
                .filter(|_| wanted.shadows)
                .map(|(name, shadow)| (name.clone(), shadow.clone()))
                .collect(),
        }
    }

    fn truth(&self) -> DocumentRow {
        let mut row = DocumentRow::begin(&record("milan-1"));
        row.observed(self.look(Wanted {
            thing: true,
            groups: true,
            shadows: true,
        }));
        row.presence = self.presence.clone();
        row
    }
}

/// What is stored of the device, and what was announced.
struct Store {
    stored: Option<Stored>,
    steps: Vec<Step>,
}

impl Store {
    fn hear(&mut self, definitions: &Definitions, world: &World, events: Vec<Event>) {
        let mut row = match &self.stored {
            Some(stored) => stored.document.clone(),
            None => DocumentRow::begin(&record("milan-1")),
        };
        row.observed(world.look(row.wanted(&events)));
        for event in events {
            row.take(event).unwrap();
        }
        let found = evaluate(definitions, self.stored.as_ref(), row, Moment(1)).unwrap();
        let before = self.stored.as_ref().map(|stored| stored.membership.clone());
        if let Some(membership) = &found.membership {
            let told = steps(before.as_ref(), Some(membership), Moment(1));
            self.steps.extend(told);
        }
        if let Some(document) = found.document {
            let membership = found.membership.or(before).unwrap();
            self.stored = Some(Stored {
                document,
                membership,
            });
        }
    }
}

fn all(version: u64) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut all = vec![
        ("low", "attributes.wattage<2", "none"),
        ("not-low", "NOT attributes.wattage<2", "none"),
        (
            "here",
            "thingGroupNames:milan AND connectivity.connected:true",
            "none",
        ),
        ("off", "connectivity.connected:false", "none"),
        (
            "x",
            "shadow.reported.x:[1 TO 2] AND shadow.hasDelta:true",
            "none",
        ),
        ("cfg", "shadow.name.cfg.reported.x:*", "none"),
        ("nowhere", "NOT thingGroupNames:*", "none"),
    ];
    if version > 1 {
        all[0].1 = "attributes.wattage>=2";
        all.push(("late", "shadow.desired.x:3", "none"));
    }
    all
}

fn check(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new();
    let mut store = Store {
        stored: None,
        steps: Vec::new(),
    };
    let mut version = 1;
    for _ in 0..CHANGES {
        world.change(&mut dice);
        if dice.below(40) == 0 {
            version = 2;
        }
        // Some of it is heard meanwhile, several at once.
        let many = dice.below(4).min(world.said.len());
        let heard: Vec<_> = (0..many)
            .map(|_| world.said.swap_remove(dice.below(world.said.len())))
            .collect();
        if !heard.is_empty() {
            store.hear(&definitions(version, &all(version)), &world, heard);
        }
    }
    let last = definitions(2, &all(2));
    while !world.said.is_empty() {
        let heard = vec![world.said.swap_remove(dice.below(world.said.len()))];
        store.hear(&last, &world, heard);
    }
    let document = Document::from_json(&world.truth().json(|_| false).unwrap()).unwrap();
    let brute: BTreeSet<String> = all(2)
        .iter()
        .filter(|(_, query, _)| {
            let query = crate::group::Query::parse(query, crate::group::Language::Aws);
            query.unwrap().query.matches(&document)
        })
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    let stored = store.stored.unwrap();
    let found: BTreeSet<_> = stored
        .membership
        .groups
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        brute,
        "seed {seed}: {:?} {:?}",
        stored.document,
        world.truth()
    );
    let mut replayed = BTreeSet::new();
    for step in &store.steps {
        let name = step.group.to_string();
        let changed = if step.entered {
            replayed.insert(name)
        } else {
            replayed.remove(&name)
        };
        assert!(changed, "seed {seed}: {step:?} changes nothing");
    }
    assert_eq!(replayed, brute, "seed {seed}");
}

#[test]
fn twice_and_in_any_order_it_ends_as_brute_force_has_it() {
    (0..SEEDS).for_each(check);
}
