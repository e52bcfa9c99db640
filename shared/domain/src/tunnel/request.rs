//! What a caller asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;
use crate::fields::Fields;
use crate::quote::quoted;
use crate::request::one_key;

const REMEDY: &str = "Send services, minutes and reason.";
const LONGEST_REASON: usize = 500;
/// For at most a day a tunnel waits for its device.
const MOST_WAIT_MINUTES: u64 = 24 * 60;
/// AWS: a tunnel that names several services has at most so many of them.
const MOST_SERVICES: usize = 5;

/// How long a tunnel is open: 1 to 720 minutes (`OpenTunnel`, AWS IoT API
/// Reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Minutes(u16);

impl Minutes {
    /// Checks a number of minutes.
    ///
    /// # Errors
    /// `Invalid` for `minutes`.
    pub fn new(minutes: u64) -> Result<Self, Failure> {
        let short = u16::try_from(minutes).ok();
        let short = short.filter(|minutes| (1..=720).contains(minutes));
        short.map(Self).ok_or_else(|| {
            Failure::invalid(
                "minutes",
                format!("AWS opens no tunnel for {minutes} minutes"),
                "Give a number from 1 to 720.",
            )
        })
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The same in milliseconds.
    pub(super) const fn millis(self) -> u64 {
        self.0 as u64 * 60_000
    }
}

impl<'de> Deserialize<'de> for Minutes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelRequest {
    /// What is to be reached on the device, by name.
    pub services: BTreeSet<String>,
    /// For how long.
    pub minutes: Minutes,
    /// Why.
    pub reason: String,
    /// How long it may wait for a device that is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_minutes: Option<u16>,
}

impl TunnelRequest {
    /// Reads the body of `POST /devices/{thingName}/tunnels`, and the
    /// idempotency key in it or beside it. `known` are the services that
    /// devices of this stack offer.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(
        body: &[u8],
        header_key: Option<&str>,
        known: &BTreeSet<String>,
    ) -> Result<(Self, Option<String>), Failure> {
        let mut fields = Fields::parse(body, REMEDY)?;
        let services: BTreeSet<String> = fields.texts("services")?.into_iter().collect();
        let minutes = fields.number("minutes")?;
        let reason = fields.required_text("reason")?;
        let wait = fields.number("waitMinutes")?;
        let key = one_key(fields.text("idempotencyKey")?.as_deref(), header_key)?;
        fields.end()?;
        check_services(&services, known)?;
        let minutes = minutes.ok_or_else(|| {
            let remedy = "Say for how long, from 1 to 720.";
            Failure::invalid("minutes", "minutes is missing", remedy)
        })?;
        let request = Self {
            services,
            minutes: Minutes::new(minutes)?,
            reason: checked_reason(&reason)?,
            wait_minutes: wait.map(checked_wait).transpose()?,
        };
        Ok((request, key))
    }
}

/// The services that a stack's parameter names, separated by commas.
///
/// # Errors
/// `Bug` for a name that AWS does not take, or for none.
pub fn known_services(text: &str) -> Result<BTreeSet<String>, Failure> {
    let names = text.split(',').map(|name| name.trim().to_owned());
    let names: BTreeSet<_> = names.collect();
    let fits = |name: &String| {
        let mut bytes = name.bytes();
        (1..=128).contains(&name.len())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b))
    };
    if names.iter().all(fits) {
        return Ok(names);
    }
    Err(Failure::bug(format!("{text:?} names no services")))
}

fn check_services(services: &BTreeSet<String>, known: &BTreeSet<String>) -> Result<(), Failure> {
    let list = || {
        known
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if services.is_empty() || services.len() > MOST_SERVICES {
        return Err(Failure::invalid(
            "services",
            format!("{} services are named", services.len()),
            format!("Name 1 to {MOST_SERVICES} of {}.", list()),
        ));
    }
    match services.iter().find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(Failure::invalid(
            "services",
            format!("no device offers the service {}", quoted(name)),
            format!("Name one of {}.", list()),
        )),
    }
}

/// One line that says something: it goes into AWS's description, which takes no
/// control characters.
fn checked_reason(reason: &str) -> Result<String, Failure> {
    let reason = reason.trim();
    let count = reason.chars().count();
    let wrong = if reason.is_empty() {
        "no reason is given"
    } else if count > LONGEST_REASON {
        "the reason is too long"
    } else if crate::job::execution::detail(reason).as_deref() != Some(reason) {
        "the reason contains a character that cannot be shown"
    } else {
        return Ok(reason.to_owned());
    };
    let remedy = format!("Say why, on one line of at most {LONGEST_REASON} characters.");
    Err(Failure::invalid("reason", wrong, remedy))
}

fn checked_wait(minutes: u64) -> Result<u16, Failure> {
    let short = u16::try_from(minutes).ok();
    let short = short.filter(|_| (1..=MOST_WAIT_MINUTES).contains(&minutes));
    short.ok_or_else(|| {
        Failure::invalid(
            "waitMinutes",
            format!("{minutes} minutes are no time to wait"),
            format!("Give a number from 1 to {MOST_WAIT_MINUTES}."),
        )
    })
}
