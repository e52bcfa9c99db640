//! Definitions of one kind, and changes that touch few or many of them.

use serde_json::{Value, json};

/// How many definitions share what a dense change turns over.
const SHARED_BY: usize = 150;
/// How many documents a device goes through, over and over.
const DOCUMENTS: usize = 64;

/// What the definitions ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Equality,
    Range,
    Wildcard,
    Negation,
    /// All of them in turn.
    Mixed,
}

/// How many definitions a change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// Two or so.
    Sparse,
    /// Some three hundred: those behind the old value and behind the new one,
    /// each with a second clause of its own.
    Dense,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Equality,
        Self::Range,
        Self::Wildcard,
        Self::Negation,
        Self::Mixed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Range => "range",
            Self::Wildcard => "wildcard",
            Self::Negation => "negation",
            Self::Mixed => "mixed",
        }
    }
}

impl Density {
    pub const ALL: [Self; 2] = [Self::Sparse, Self::Dense];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sparse => "sparse",
            Self::Dense => "dense",
        }
    }
}

/// One definition, as each engine writes it.
pub struct Definition {
    pub query: String,
    /// Common Expression Language.
    pub cel: String,
    /// Nothing where a-tree cannot express it: it has no patterns.
    pub atree: Option<String>,
}

/// Definitions, and a device's documents, each a change of the one before.
pub struct Workload {
    pub definitions: Vec<Definition>,
    pub documents: Vec<Value>,
}

/// The fields that definitions ask about.
pub struct Fields {
    pub site: String,
    pub serial: String,
    pub lot: String,
    pub watts: i64,
    pub level: i64,
}

impl Workload {
    pub fn new(kind: Kind, density: Density, size: usize) -> Self {
        let keys = match density {
            Density::Sparse => size.max(2),
            // A change turns one kind of four over.
            Density::Dense if kind == Kind::Mixed => size.div_ceil(4 * SHARED_BY).max(2),
            Density::Dense => size.div_ceil(SHARED_BY).max(2),
        };
        Self {
            definitions: (0..size)
                .map(|i| definition(kind, density, i, keys))
                .collect(),
            documents: (0..DOCUMENTS)
                .map(|step| document(kind, step, keys))
                .collect(),
        }
    }
}

fn definition(kind: Kind, density: Density, i: usize, keys: usize) -> Definition {
    let kind = match kind {
        Kind::Mixed => [Kind::Equality, Kind::Range, Kind::Wildcard, Kind::Negation][i % 4],
        kind => kind,
    };
    let key = i % keys;
    let first = match kind {
        Kind::Range => {
            let (low, high) = (key * 10, key * 10 + 10);
            Definition {
                query: format!("shadow.reported.level:[{low} TO {high}}}"),
                cel: format!("level >= {low} && level < {high}"),
                atree: Some(format!("level >= {low} and level < {high}")),
            }
        }
        Kind::Wildcard if i % 2 == 0 => Definition {
            query: format!("attributes.serial:s{key}-*"),
            cel: format!("serial.startsWith(\"s{key}-\")"),
            atree: None,
        },
        Kind::Wildcard => Definition {
            query: format!("attributes.serial:*-x{key}-*"),
            cel: format!("serial.contains(\"-x{key}-\")"),
            atree: None,
        },
        Kind::Negation => Definition {
            query: format!("NOT attributes.site:s{key}"),
            cel: format!("!(site == \"s{key}\")"),
            atree: Some(format!("not (site = \"s{key}\")")),
        },
        Kind::Equality | Kind::Mixed => Definition {
            query: format!("attributes.site:s{key}"),
            cel: format!("site == \"s{key}\""),
            atree: Some(format!("site = \"s{key}\"")),
        },
    };
    let second = match density {
        Density::Sparse => {
            let watts = [40, 60, 80][i % 3];
            Definition {
                query: format!("attributes.watts:{watts}"),
                cel: format!("watts == {watts}"),
                atree: Some(format!("watts = {watts}")),
            }
        }
        Density::Dense => Definition {
            query: format!("NOT attributes.lot:l{i}"),
            cel: format!("lot != \"l{i}\""),
            atree: Some(format!("not (lot = \"l{i}\")")),
        },
    };
    Definition {
        query: format!("{} AND {}", first.query, second.query),
        cel: format!("({}) && {}", first.cel, second.cel),
        atree: first
            .atree
            .zip(second.atree)
            .map(|(first, second)| format!("({first}) and ({second})")),
    }
}

/// The fields at a step: one of them changes from each step to the next.
pub fn fields(kind: Kind, step: usize, keys: usize) -> Fields {
    let turn = match kind {
        Kind::Mixed => step % 4,
        Kind::Equality | Kind::Negation => 0,
        Kind::Range => 1,
        Kind::Wildcard => 2,
    };
    // How often each of the three has changed by now, and in all.
    let times = |which: usize, step: usize| match kind {
        Kind::Mixed => (step + 3 - which) / 4,
        _ if turn == which => step,
        _ => 0,
    };
    // Up by one each time, and down again.
    let key = |which: usize| {
        let (now, all) = (times(which, step), times(which, DOCUMENTS));
        now.min(all - now) % keys
    };
    Fields {
        site: format!("s{}", key(0)),
        serial: format!("s{}-x{}-q7", key(2), (key(2) + 1) % keys),
        lot: format!("l{}", 7),
        watts: 60,
        level: i64::try_from(key(1) * 10 + 5).unwrap_or(0),
    }
}

fn document(kind: Kind, step: usize, keys: usize) -> Value {
    let Fields {
        site,
        serial,
        lot,
        watts,
        level,
    } = fields(kind, step, keys);
    json!({
        "thingName": "milan-navigli-0001",
        "thingTypeName": "streetlight",
        "thingGroupNames": ["milan", "milan-navigli"],
        "billingGroupName": "milan",
        "attributes": {
            "site": site, "serial": serial, "lot": lot, "watts": watts.to_string(),
            "city": "milan", "vendor": "acme", "firmware_version": "1.10.0",
        },
        "shadow": {
            "reported": { "level": level, "lamp": "on", "celsius": 31.5, "hours": 10423, "errors": [] },
            "desired": { "lamp": "on" },
            "hasDelta": false,
        },
        "connectivity": { "connected": true, "timestamp": 1_557_651_600_000_u64 },
    })
}
