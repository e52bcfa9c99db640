//! Jobs as a person reads them.

use serde_json::Value;

use crate::output;

/// How many devices of a wave a forecast names.
const NAMED: usize = 5;

/// The counts in the order in which a person asks for them.
pub(super) const COUNTS: [&str; 12] = [
    "succeeded",
    "unconfirmed",
    "inProgress",
    "queued",
    "waiting",
    "failed",
    "timedOut",
    "rejected",
    "unreached",
    "removed",
    "left",
    "retried",
];

pub(super) fn job(job: &Value) {
    let mut facts = Vec::new();
    for name in ["jobId", "template", "parameters", "status", "reason"] {
        facts.push((name, output::plain(&job[name])));
    }
    facts.push(("targets", targets(job)));
    facts.push(("devices", counts(&job["counts"])));
    facts.push(("leftOut", output::plain(&job["leftOut"]["count"])));
    let wave = &job["wave"];
    if !wave.is_null() {
        let text = format!(
            "{} of {} devices: {}",
            wave["number"],
            wave["size"],
            counts(&wave["counts"])
        );
        facts.push(("wave", text));
        facts.push(("deadline", output::plain(&wave["deadline"])));
    }
    let left = job["secondsLeft"].as_u64();
    facts.push(("waitsUntil", output::plain(&job["waitsUntil"])));
    facts.push(("timeLeft", left.map(duration).unwrap_or_default()));
    for name in ["startedBy", "startedAt", "endsAt", "endedAt"] {
        facts.push((name, output::plain(&job[name])));
    }
    let said = facts.into_iter().filter(|(_, text)| !text.is_empty());
    output::line(&output::facts(said).to_string());
    failures(job);
    left_out(&job["leftOut"]["examples"]);
    trail(job);
}

/// What happened to it, and who did it.
fn trail(job: &Value) {
    let events = job["events"].as_array().map_or(&[][..], Vec::as_slice);
    if events.is_empty() {
        return;
    }
    let mut table = output::table(&["when", "what", "by"]);
    for event in events {
        table.add_row([
            output::plain(&event["at"]),
            happened(event),
            output::plain(&event["by"]),
        ]);
    }
    output::line(&table.to_string());
    if let Some(untold) = job["eventsUntold"].as_u64() {
        output::note(&format!("{untold} more were too many to keep"));
    }
}

/// An event, in words.
fn happened(event: &Value) -> String {
    let wave = &event["wave"];
    let what = event["what"].as_str().unwrap_or_default();
    let told = match what {
        "waveBegan" => {
            let late = event["late"].as_u64().filter(|late| *late > 0);
            let late = late.map(|late| format!(", {late} of them late"));
            let given = format!("wave {wave} given to {} devices", event["devices"]);
            given + &late.unwrap_or_default()
        }
        "waveEnded" => {
            let end = output::plain(&event["end"])
                .to_lowercase()
                .replace('_', " ");
            format!("wave {wave} ended, {end}: {}", counts(&event["counts"]))
        }
        "awaitsApproval" => format!("waits for approval of wave {wave}"),
        "approved" => format!("wave {wave} approved"),
        "cancelled" if event["running"] == true => "cancelled, where it had begun too".to_owned(),
        other => words(other),
    };
    match event["reason"].as_str() {
        Some(reason) => format!("{told}: {reason}"),
        None => told,
    }
}

/// Failures, those that are alike together.
pub(super) fn failures(job: &Value) {
    let groups = job["failures"].as_array().map_or(&[][..], Vec::as_slice);
    if groups.is_empty() {
        return;
    }
    let mut table = output::table(&["devices", "status", "reason", "for instance"]);
    for group in groups {
        table.add_row(
            ["count", "status", "reason", "examples"].map(|name| output::plain(&group[name])),
        );
    }
    output::line(&table.to_string());
}

pub(super) fn list(page: &Value) {
    let mut table = output::table(&["job", "template", "status", "settled", "failed", "started"]);
    for job in page["items"].as_array().into_iter().flatten() {
        let counts = &job["counts"];
        let failed: u64 = ["failed", "timedOut", "rejected"]
            .iter()
            .filter_map(|name| counts[*name].as_u64())
            .sum();
        table.add_row([
            output::plain(&job["jobId"]),
            output::plain(&job["template"]),
            output::plain(&job["status"]),
            format!("{}% of {}", job["percentSettled"], counts["targets"]),
            failed.to_string(),
            output::plain(&job["startedAt"]),
        ]);
    }
    output::line(&table.to_string());
    more(page);
}

/// The jobs of one device.
pub(super) fn of_device(page: &Value) {
    const FIELDS: [&str; 6] = [
        "jobId",
        "template",
        "status",
        "reason",
        "reportedAt",
        "startedAt",
    ];
    let mut table = output::table(&["job", "template", "status", "reason", "reported", "started"]);
    for job in page["items"].as_array().into_iter().flatten() {
        table.add_row(FIELDS.map(|name| output::plain(&job[name])));
    }
    output::line(&table.to_string());
    more(page);
}

fn more(page: &Value) {
    if let Some(cursor) = page["nextCursor"].as_str() {
        output::note(&format!("more: --cursor '{cursor}'"));
    }
}

/// Who would get it.
pub(super) fn forecast(forecast: &Value) {
    let mut table = output::table(&["wave", "devices", "who"]);
    for wave in forecast["waves"].as_array().into_iter().flatten() {
        let things = wave["things"].as_array().map_or(&[][..], Vec::as_slice);
        let size = wave["size"].as_u64().unwrap_or_default();
        let named: Vec<_> = things.iter().take(NAMED).map(output::plain).collect();
        let rest = size.saturating_sub(named.len() as u64);
        let more = if rest > 0 {
            format!(", and {rest} more")
        } else {
            String::new()
        };
        let row = [
            wave["wave"].to_string(),
            size.to_string(),
            named.join(", ") + &more,
        ];
        table.add_row(row);
    }
    if table.is_empty() {
        output::line("nobody would get it");
    } else {
        output::line(&table.to_string());
    }
    left_out(&forecast["leftOut"]);
    if forecast["more"] == true {
        output::note("there are more targets than were looked at");
    }
}

/// Those that may not get it, and why.
fn left_out(some: &Value) {
    let some = some.as_array().map_or(&[][..], Vec::as_slice);
    if some.is_empty() {
        return;
    }
    let mut table = output::table(&["left out", "why"]);
    for one in some {
        table.add_row(["thingName", "reason"].map(|name| output::plain(&one[name])));
    }
    output::line(&table.to_string());
}

fn targets(job: &Value) -> String {
    let targets = &job["targets"];
    match targets["kind"].as_str().unwrap_or_default() {
        "group" => format!("the group {}", output::plain(&targets["name"])),
        "dynamicGroup" => format!("the dynamic group {}", output::plain(&targets["name"])),
        "query" => output::plain(&targets["text"]),
        "things" => format!("{} devices by name", targets["count"]),
        _ => String::new(),
    }
}

/// What is not zero.
pub(super) fn counts(counts: &Value) -> String {
    let some = COUNTS.iter().filter_map(|name| {
        let count = counts[*name].as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {}", words(name)))
    });
    some.collect::<Vec<_>>().join(", ")
}

/// `inProgress` as `in progress`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// Seconds as a person says them.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        5401..=172_800 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_told_without_zeros() {
        let seen = json!({"succeeded": 3, "inProgress": 2, "failed": 0, "targets": 9});
        assert_eq!(counts(&seen), "3 succeeded, 2 in progress");
        assert_eq!(counts(&json!({})), "");
    }

    #[test]
    fn events_in_words() {
        for (event, told) in [
            (json!({"what": "asked"}), "asked"),
            (
                json!({"what": "waveBegan", "wave": 1, "devices": 3, "late": 0}),
                "wave 1 given to 3 devices",
            ),
            (
                json!({"what": "waveBegan", "wave": 2, "devices": 3, "late": 1}),
                "wave 2 given to 3 devices, 1 of them late",
            ),
            (
                json!({"what": "waveEnded", "wave": 2, "end": "TOO_MANY_FAILED", "counts": {"failed": 2}}),
                "wave 2 ended, too many failed: 2 failed",
            ),
            (
                json!({"what": "awaitsApproval", "wave": 3}),
                "waits for approval of wave 3",
            ),
            (json!({"what": "approved", "wave": 3}), "wave 3 approved"),
            (json!({"what": "paused"}), "paused"),
            (json!({"what": "paused", "reason": "why"}), "paused: why"),
            (json!({"what": "cancelled", "running": false}), "cancelled"),
            (
                json!({"what": "cancelled", "running": true}),
                "cancelled, where it had begun too",
            ),
        ] {
            assert_eq!(happened(&event), told, "{event}");
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (59, "59 s"),
            (91, "2 min"),
            (5401, "2 h"),
            (200_000, "3 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
