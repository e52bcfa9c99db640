//! Thousands of random changes of things, shadows, presence and memberships of
//! a dozen devices, delivered twice and shuffled, some through the rules and
//! some straight to the function: in the end the stored membership is what
//! asking every definition finds, and what was announced leads to the same
//! (invariant 7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, stream};
use lamplighter_domain::group::{Document, Language, Query};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::groups::{Bus, all, deliver, replayed, until, until_drained, until_in};
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::organisation::Organisation;
use serde_json::{Value, json};

const DEVICES: usize = 12;
/// Changes that AWS is really asked for, and those that are only told of.
const REAL: usize = 480;
const TOLD: usize = 4000;
/// As many messages as the function takes at once.
const BATCH: usize = 100;

/// `SplitMix64`: what its seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("a number below it")
    }
}

#[derive(Clone, Default)]
struct Shadow {
    version: u64,
    reported: Option<usize>,
    desired: Option<usize>,
    there: bool,
}

/// A device as AWS has it.
struct Light {
    thing: String,
    id: String,
    version: u64,
    type_name: String,
    billing_group: String,
    attributes: BTreeMap<String, String>,
    groups: BTreeSet<String>,
    shadows: BTreeMap<&'static str, Shadow>,
    session: Option<String>,
    connected: Value,
    /// Milliseconds; what happened later has more.
    clock: u64,
}

impl Light {
    async fn new(cloud: &Cloud, org: &Organisation) -> Self {
        let thing = unique("shuffled");
        let mut body = org.light(&thing);
        body["csr"] = Key::make(&thing).csr.into();
        created(cloud, &body).await;
        let seen = describe(cloud, &format!("/things/{thing}"))
            .await
            .expect(200);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        Self {
            id: seen["thingId"].as_str().expect("an id").to_owned(),
            version: seen["version"].as_u64().expect("a version"),
            type_name: org.of("type"),
            billing_group: org.of("pays"),
            attributes: serde_json::from_value(seen["attributes"].clone()).expect("attributes"),
            groups: BTreeSet::from([org.of("navigli")]),
            shadows: BTreeMap::new(),
            session: None,
            connected: json!({"connected": false}),
            clock: u64::try_from(now.as_millis()).expect("milliseconds") + 2000,
            thing,
        }
    }

    /// The document as fleet indexing would have it.
    fn document(&self) -> Value {
        let mut shadow = json!({});
        for (name, state) in &self.shadows {
            if !state.there {
                continue;
            }
            let mut seen = json!({"hasDelta": false});
            if let Some(x) = state.reported {
                seen["reported"] = json!({"x": x});
            }
            if let Some(x) = state.desired {
                seen["desired"] = json!({"x": x});
                if state.reported != Some(x) {
                    seen["delta"] = json!({"x": x});
                    seen["hasDelta"] = true.into();
                }
            }
            match *name {
                "" => {
                    let fields = seen.as_object().expect("fields").clone();
                    shadow.as_object_mut().expect("a shadow").extend(fields);
                }
                name => shadow["name"][name] = seen,
            }
        }
        json!({
            "thingName": self.thing, "thingTypeName": self.type_name,
            "thingGroupNames": self.groups, "billingGroupName": self.billing_group,
            "attributes": self.attributes, "shadow": shadow, "connectivity": self.connected,
        })
    }

    /// A change that AWS is asked for; its rules tell the function.
    async fn change(&mut self, cloud: &Cloud, org: &Organisation, dice: &mut Dice) {
        match dice.below(4) {
            0 => {
                self.set_wattage(dice);
                let body = json!({"attributePayload": {"attributes": self.attributes}});
                let path = format!("/things/{}", self.thing);
                iot(cloud, "PATCH", &path, &body).await.expect(200);
            }
            1 => self.move_about(cloud, org, dice).await,
            _ => {
                let name = self.pick_shadow(dice);
                let state = self.shadows[name].clone();
                let query = if name.is_empty() {
                    String::new()
                } else {
                    format!("?name={name}")
                };
                let path = format!("/things/{}/shadow{query}", self.thing);
                let ask = if state.there {
                    let body = json!({"state": {
                        "reported": {"x": state.reported}, "desired": {"x": state.desired},
                    }});
                    Ask::new("POST", path).text(body.to_string())
                } else {
                    Ask::new("DELETE", path)
                };
                cloud.aws("iotdata", &ask).await.expect(200);
            }
        }
    }

    async fn move_about(&mut self, cloud: &Cloud, org: &Organisation, dice: &mut Dice) {
        let group = org.of(["turin", "idle"][dice.below(2)]);
        let body = json!({"thingName": self.thing, "thingGroupName": group});
        let path = if self.groups.remove(&group) {
            "/thing-groups/removeThingFromThingGroup"
        } else {
            self.groups.insert(group);
            "/thing-groups/addThingToThingGroup"
        };
        iot(cloud, "PUT", path, &body).await.expect(200);
    }

    fn set_wattage(&mut self, dice: &mut Dice) {
        self.version += 1;
        let wattage = (dice.below(6) * 20).to_string();
        self.attributes.insert("wattage".to_owned(), wattage);
    }

    /// Changes or deletes a shadow.
    fn pick_shadow(&mut self, dice: &mut Dice) -> &'static str {
        let name = ["", "cfg"][dice.below(2)];
        let state = self.shadows.entry(name).or_default();
        if state.there && dice.below(5) == 0 {
            *state = Shadow {
                version: state.version,
                ..Shadow::default()
            };
        } else {
            state.version += 1;
            state.there = true;
            state.reported = (dice.below(4) > 0).then(|| dice.below(4));
            state.desired = (dice.below(4) > 0).then(|| dice.below(4));
        }
        name
    }

    /// A change that only the function hears of, as the rules would tell it.
    fn tell(&mut self, dice: &mut Dice) -> Vec<Value> {
        self.clock += 1 + dice.below(2000) as u64;
        match dice.below(7) {
            0 | 1 => {
                self.set_wattage(dice);
                vec![json!({
                    "topic": format!("$aws/events/thing/{}/updated", self.thing),
                    "operation": "UPDATED", "thingId": self.id, "thingName": self.thing,
                    "versionNumber": self.version, "thingTypeName": self.type_name,
                    "attributes": self.attributes,
                })]
            }
            2..5 => {
                let name = self.pick_shadow(dice);
                let state = &self.shadows[name];
                let base = match name {
                    "" => format!("$aws/things/{}/shadow", self.thing),
                    name => format!("$aws/things/{}/shadow/name/{name}", self.thing),
                };
                let mut told = json!({"version": state.version, "timestamp": self.clock / 1000});
                if state.there {
                    told["topic"] = format!("{base}/update/documents").into();
                    told["state"] = json!({});
                    for (section, x) in [("reported", state.reported), ("desired", state.desired)] {
                        if let Some(x) = x {
                            told["state"][section] = json!({"x": x});
                        }
                    }
                } else {
                    told["topic"] = format!("{base}/delete/accepted").into();
                }
                vec![told]
            }
            5 => self.connect_or_not(dice),
            // Says nothing by itself: the groups are looked at.
            _ => vec![json!({
                "topic": format!(
                    "$aws/events/thingGroupMembership/thingGroup/any/thing/{}/added", self.thing
                ),
            })],
        }
    }

    fn connect_or_not(&mut self, dice: &mut Dice) -> Vec<Value> {
        let thing = self.thing.clone();
        let event = |what: &str, session: &str, at: u64, reason: Option<&str>| {
            json!({
                "topic": format!("$aws/events/presence/{what}/{thing}"),
                "sessionIdentifier": session, "timestamp": at, "disconnectReason": reason,
            })
        };
        let old = self.session.take();
        if let (Some(session), 0) = (&old, dice.below(2)) {
            self.connected = json!({
                "connected": false, "timestamp": self.clock, "disconnectReason": "CONNECTION_LOST",
            });
            return vec![event(
                "disconnected",
                session,
                self.clock,
                Some("CONNECTION_LOST"),
            )];
        }
        let session = unique("session");
        self.connected = json!({"connected": true, "timestamp": self.clock});
        let mut told = vec![event("connected", &session, self.clock, None)];
        // A client id that is taken over ends its old session last.
        told.extend(old.map(|old| {
            event(
                "disconnected",
                &old,
                self.clock + 5,
                Some("DUPLICATE_CLIENTID"),
            )
        }));
        self.session = Some(session);
        told
    }
}

/// Definitions over everything that a document has, for these devices only.
fn definitions(org: &Organisation) -> Vec<Value> {
    let of = |rest: &str, query: &str| {
        json!({
            "name": org.of(rest),
            "query": format!("thingTypeName:{} AND ({query})", org.of("type")),
        })
    };
    let (navigli, pays) = (org.of("navigli"), org.of("pays"));
    let mut all = vec![
        of("bright", "attributes.wattage>=80"),
        of("dim", "NOT attributes.wattage>=80"),
        of("exact", "attributes.wattage:100"),
        of("turns", &format!("thingGroupNames:{}", org.of("turin"))),
        of(
            "stays",
            &format!(
                "thingGroupNames:{navigli} AND NOT thingGroupNames:{}",
                org.of("idle")
            ),
        ),
        of("payer", &format!("thingGroupNames:{pays}")),
        of("on", "connectivity.connected:true"),
        of("off", "NOT connectivity.connected:true"),
        of("lost", "connectivity.disconnectReason:CONNECTION_LOST"),
        of("some", "shadow.reported.x:[1 TO 2]"),
        of(
            "delta",
            "shadow.hasDelta:true OR shadow.name.cfg.hasDelta:true",
        ),
        of("cfg", "shadow.name.cfg.reported.x:*"),
        of("bare", "milan"),
        of("wild", "attributes.w*:4? OR shadow.desired.x:3"),
        of("inside", "shadow.reported.x>0"),
    ];
    all[14]["parent"] = org.of("bright").into();
    all
}

/// The groups that brute force finds.
fn brute(definitions: &[Value], light: &Light) -> BTreeSet<String> {
    let document = Document::from_json(&light.document()).expect("a document");
    let holds = |definition: &Value| {
        let text = definition["query"].as_str().expect("a query");
        let parsed = Query::parse(text, Language::Aws).unwrap_or_else(|e| panic!("{text}: {e}"));
        parsed.query.matches(&document)
    };
    let named = |name: &Value| {
        definitions
            .iter()
            .find(|d| d["name"] == *name)
            .expect("a group")
    };
    definitions
        .iter()
        .filter(|d| holds(d) && (d["parent"].is_null() || holds(named(&d["parent"]))))
        .map(|d| d["name"].as_str().expect("a name").to_owned())
        .collect()
}

async fn organised(cloud: &Cloud) -> (Organisation, Vec<Value>) {
    let mut org = Organisation::new();
    let definitions = definitions(&org);
    org.catalog["dynamicGroups"] = definitions.clone().into();
    org.apply(cloud, "").await.expect_done();
    (org, definitions)
}

/// What was announced leads to these groups; asks until all of it has come.
async fn announced(
    cloud: &Cloud,
    bus: &Bus,
    names: &BTreeSet<String>,
    expected: &BTreeMap<String, BTreeSet<String>>,
) {
    let told = std::sync::Mutex::new(Vec::new());
    until(async || {
        let heard = bus.heard(cloud).await;
        let mut told = told.lock().expect("nobody panicked");
        told.extend(heard);
        // As long as some is missing, it may not fit together yet.
        match replayed(&told, names)? {
            found if found == *expected => Ok(()),
            found => Err(format!("announced {found:?}, not {expected:?}")),
        }
    })
    .await;
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "A failure is repeated by its seed.")]
async fn membership_equals_brute_force_whatever_comes_twice_and_in_any_order() {
    let cloud = &Cloud::open();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        u64::try_from(now.as_micros() % 1_000_000_007).expect("small")
    });
    println!("SEED={seed}");
    let bus = Bus::listen(cloud).await;
    let (org, definitions) = organised(cloud).await;
    let mut lights: Vec<_> = stream::iter((0..DEVICES).map(|_| Light::new(cloud, &org)))
        .buffered(4)
        .collect()
        .await;
    // A device's document begins when it is created; what is told before that
    // would be looked at in AWS, which does not know of it.
    for light in &lights {
        let expected: Vec<_> = brute(&definitions, light).into_iter().collect();
        until_in(cloud, &light.thing, &org.name, &expected).await;
    }
    stream::iter(lights.iter_mut().enumerate())
        .for_each_concurrent(4, async |(at, light)| {
            let mut dice = Dice(seed + at as u64);
            for _ in 0..REAL / DEVICES {
                light.change(cloud, &org, &mut dice).await;
            }
        })
        .await;
    let mut dice = Dice(seed);
    let mut told = Vec::new();
    for _ in 0..TOLD {
        let light = dice.below(DEVICES);
        told.extend(lights[light].tell(&mut dice));
    }
    told.extend(told.clone());
    for at in (1..told.len()).rev() {
        told.swap(at, dice.below(at + 1));
    }
    println!("{} messages told, {REAL} changes made", told.len());
    stream::iter(told.chunks(BATCH))
        .for_each_concurrent(2, async |batch| {
            let mut left = deliver(cloud, "EvaluateGroupsFunction", batch).await;
            while left > 0 {
                left = deliver(cloud, "EvaluateGroupsFunction", batch).await;
            }
        })
        .await;
    until_drained(cloud).await;
    let names: BTreeSet<_> = definitions
        .iter()
        .map(|d| d["name"].as_str().expect("a name").to_owned())
        .collect();
    let mut expected = BTreeMap::new();
    for light in &lights {
        let truth = brute(&definitions, light);
        let groups: Vec<_> = truth.iter().cloned().collect();
        until_in(cloud, &light.thing, &org.name, &groups).await;
        expected.insert(light.thing.clone(), truth);
    }
    announced(cloud, &bus, &names, &expected).await;
    for name in &names {
        let mut members: Vec<_> = expected
            .iter()
            .filter(|(_, groups)| groups.contains(name))
            .map(|(thing, _)| thing.clone())
            .collect();
        members.sort();
        let path = format!("/groups/{name}");
        assert_eq!(
            all(cloud, &format!("{path}/members"), "thingName", 5).await,
            members
        );
        // It is swept again as often as anybody's definitions change.
        until(async || {
            let group = cloud.api(&Ask::new("GET", &path)).await.expect(200);
            let complete = group["members"] == members.len() && group["status"] == "ACTIVE";
            complete.then_some(()).ok_or_else(|| group.to_string())
        })
        .await;
    }
}
