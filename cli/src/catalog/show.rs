//! A plan as a person reads it: a line for each thing that changes, below it
//! each field before and after, and a summary.

use comfy_table::{Attribute, Color};
use serde_json::Value;

use crate::output;

/// Longer values are cut.
const WIDEST: usize = 60;

/// What is done, its sign and colour, and how it is counted before and after.
const ACTIONS: [(&str, &str, Color, [&str; 2]); 6] = [
    ("create", "+", Color::Green, ["to create", "created"]),
    ("update", "~", Color::Yellow, ["to change", "changed"]),
    ("replace", "±", Color::Magenta, ["to replace", "replaced"]),
    ("migrate", "→", Color::Cyan, ["to migrate", "migrated"]),
    ("drain", "→", Color::Cyan, ["to drain", "drained"]),
    ("delete", "-", Color::Red, ["to delete", "deleted"]),
];

pub(super) fn show(answer: &Value, dry_run: bool) {
    for change in each(&answer["changes"]) {
        output::line(&headline(change));
        for field in each(&change["fields"]) {
            output::line(&format!("    {}", described(field, &change["action"])));
        }
    }
    for (part, word) in [
        ("refused", "refused"),
        ("kept", "left alone"),
        ("waiting", "later"),
    ] {
        for item in each(&answer[part]) {
            let (kind, name) = (output::plain(&item["kind"]), output::plain(&item["name"]));
            output::line(&format!("! {kind} {name}: {word}"));
            output::line(&format!("    {}", output::plain(&item["reason"])));
            if let Some(remedy) = item["remedy"].as_str() {
                output::line(&format!("    {remedy}"));
            }
        }
    }
    for warning in each(&answer["warnings"]) {
        let (field, text) = (
            output::plain(&warning["field"]),
            output::plain(&warning["text"]),
        );
        output::note(&format!("warning: {field}: {text}"));
    }
    output::line(&summary(answer, dry_run));
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn headline(change: &Value) -> String {
    let action = change["action"].as_str().unwrap_or_default();
    let found = ACTIONS.iter().find(|(name, ..)| *name == action);
    let (sign, colour) = found.map_or(("?", Color::White), |(_, sign, colour, _)| (sign, *colour));
    let (kind, name) = (
        output::plain(&change["kind"]),
        output::plain(&change["name"]),
    );
    let text = output::styled(&format!("{sign} {kind} {name}"), colour, Attribute::Bold);
    match change["note"].as_str() {
        Some(note) => format!("{text}  ({note})"),
        None => text,
    }
}

fn described(field: &Value, action: &Value) -> String {
    let name = output::plain(&field["field"]);
    let (before, after) = (short(&field["before"]), short(&field["after"]));
    match action.as_str() {
        Some("create") => format!("{name}: {after}"),
        Some("delete") => format!("{name}: {before}"),
        _ => format!("{name}: {before} → {after}"),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    if text.chars().count() <= WIDEST {
        return text;
    }
    let cut: String = text.chars().take(WIDEST).collect();
    format!("{cut}…")
}

fn summary(answer: &Value, dry_run: bool) -> String {
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let (changes, refused) = (count(&answer["changes"]), count(&answer["refused"]));
    let unchanged = count(&answer["unchanged"]);
    let heading = match (dry_run, answer["status"].as_str()) {
        (true, _) => "Plan",
        (false, Some("PENDING")) => "Applied so far",
        (false, _) => "Applied",
    };
    if refused > 0 {
        return format!("{heading}: nothing, because {refused} refused. {unchanged} unchanged.");
    }
    if changes == 0 {
        let nothing = match answer["status"].as_str() {
            Some("PENDING") => "nothing",
            _ => "nothing to do",
        };
        return format!("{heading}: {nothing}. {unchanged} unchanged.");
    }
    let parts: Vec<_> = ACTIONS
        .iter()
        .filter_map(|(action, _, _, [before, after])| {
            let verb = if dry_run { before } else { after };
            let of = each(&answer["changes"])
                .filter(|c| c["action"] == *action)
                .count();
            (of > 0).then(|| format!("{of} {verb}"))
        })
        .collect();
    let moved = answer["progress"]["moved"].as_u64();
    let moved = moved.map_or_else(String::new, |moved| format!(" {moved} devices moved."));
    format!(
        "{heading}: {}.{moved} {unchanged} unchanged.",
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_summary_counts_by_what_is_done() {
        let change = |action: &str| json!({"action": action});
        for (answer, dry_run, wanted) in [
            (
                json!({"unchanged": [1, 2]}),
                true,
                "Plan: nothing to do. 2 unchanged.",
            ),
            (
                json!({"changes": [change("update"), change("create"), change("create")]}),
                true,
                "Plan: 2 to create, 1 to change. 0 unchanged.",
            ),
            (
                json!({"changes": [change("migrate")], "status": "PENDING", "progress": {"moved": 7}}),
                false,
                "Applied so far: 1 migrated. 7 devices moved. 0 unchanged.",
            ),
            (
                json!({"changes": [], "status": "PENDING", "waiting": [1]}),
                false,
                "Applied so far: nothing. 0 unchanged.",
            ),
            (
                json!({"changes": [change("create")], "refused": [1]}),
                true,
                "Plan: nothing, because 1 refused. 0 unchanged.",
            ),
        ] {
            assert_eq!(summary(&answer, dry_run), wanted);
        }
    }

    #[test]
    fn a_field_is_shown_before_and_after() {
        let field = json!({"field": "description", "before": "a", "after": null});
        assert_eq!(
            described(&field, &json!("update")),
            "description: \"a\" → none"
        );
        assert_eq!(described(&field, &json!("delete")), "description: \"a\"");
        assert_eq!(short(&json!("x".repeat(100))).chars().count(), 61);
    }
}
