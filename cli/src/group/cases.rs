//! `lamp group test --cases`: what queries say of devices, case by case.

use std::path::Path;

use lamplighter_domain::group::{Document, Language, Query};
use lamplighter_domain::pieces::{member, pieces};
use serde_json::{Value, json};

use super::read;
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn run(file: &Path, language: Language) -> Result<Exit, Failure> {
    let cases = parse(&read(file)?);
    let mut score = Score::default();
    for case in &cases {
        let (result, message) = outcome(case, language);
        let mut line = json!({ "id": case["id"], "result": result });
        if let Some(message) = message {
            line["message"] = Value::from(message);
        }
        output::document(&line);
        score.count(case, &result);
    }
    Ok(score.report())
}

/// The cases of a file: an array, an object that has one as `cases`, or one
/// object a line. What cannot be read is a case too, which errs, and no other
/// with it.
fn parse(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Array(cases)) => cases,
        Ok(Value::Object(mut file)) => match file.remove("cases") {
            Some(Value::Array(cases)) => cases,
            _ => vec![Value::Object(file)],
        },
        Ok(other) => vec![other],
        Err(_) => match one_by_one(text) {
            Some(cases) => cases
                .into_iter()
                .enumerate()
                .map(|(at, case)| read_case(case, &format!("case {}", at + 1)))
                .collect(),
            None => text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(at, line)| read_case(line, &format!("line {}", at + 1)))
                .collect(),
        },
    }
}

/// The cases of a file that is one value and cannot be read as a whole.
fn one_by_one(text: &str) -> Option<Vec<&str>> {
    let all = pieces(text)?;
    if text.trim_start().starts_with('[') {
        return Some(all);
    }
    let cases = member(text, "cases").and_then(pieces);
    Some(cases.unwrap_or_else(|| vec![text]))
}

/// One case. What scores it is read even where the rest cannot be.
fn read_case(text: &str, place: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| {
        let mut case = json!({ "id": place, "unreadable": error.to_string() });
        for field in ["id", "query", "expected", "ambiguous"] {
            let value = member(text, field).and_then(|value| serde_json::from_str(value).ok());
            if let Some(value) = value {
                case[field] = value;
            }
        }
        case
    })
}

/// `true`, `false` or `"error"`, and what is wrong in the last case.
fn outcome(case: &Value, language: Language) -> (Value, Option<String>) {
    match holds(case, language) {
        Ok(holds) => (Value::from(holds), None),
        Err(message) => (Value::from("error"), Some(message)),
    }
}

fn holds(case: &Value, language: Language) -> Result<bool, String> {
    if let Some(error) = case["unreadable"].as_str() {
        return Err(format!("the case is no JSON: {error}"));
    }
    let query = case["query"].as_str().ok_or("the case has no query")?;
    let parsed = Query::parse(query, language).map_err(|error| error.to_string())?;
    let device = Document::from_json(&case["device"]).map_err(|failure| failure.reason)?;
    Ok(parsed.query.matches(&device))
}

/// How many cases came out as expected.
#[derive(Default)]
struct Score {
    agreeing: usize,
    /// Scored cases that came out otherwise.
    differing: usize,
    /// Cases that are not scored and came out otherwise.
    ambiguous: usize,
    unscored: usize,
}

impl Score {
    fn count(&mut self, case: &Value, result: &Value) {
        let expected = &case["expected"];
        let is_scored = case["ambiguous"] != true;
        if expected.is_null() {
            self.unscored += 1;
        } else if expected == result {
            self.agreeing += 1;
        } else {
            let (counter, what) = if is_scored {
                (&mut self.differing, "differs")
            } else {
                (&mut self.ambiguous, "differs, and is not scored")
            };
            *counter += 1;
            output::note(&format!(
                "{}: {what}: expected {expected}, and it is {result}: {}",
                output::plain(&case["id"]),
                output::plain(&case["query"]),
            ));
        }
    }

    fn report(&self) -> Exit {
        output::note(&format!(
            "{} as expected, {} otherwise, {} otherwise that are not scored, {} without an \
             expected result",
            self.agreeing, self.differing, self.ambiguous, self.unscored
        ));
        if self.differing == 0 {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(case: &str, result: Value, message: Option<&str>) {
        let (came_out, said) = outcome(&parse(case)[0], Language::Aws);
        assert_eq!(came_out, result, "{case}");
        match (&said, message) {
            (None, None) => {}
            (Some(said), Some(part)) => assert!(said.contains(part), "{said}"),
            _ => panic!("{case}: {said:?}"),
        }
    }

    #[test]
    fn no_case_stops_the_others() {
        let device = r#""device": {"thingName": "a"}"#;
        check(
            &format!(r#"{{"id": "x", "query": "thingName:A", {device}, "unknown": [1]}}"#),
            json!(true),
            None,
        );
        check(
            &format!(r#"{{"query": "thingName:b", {device}}}"#),
            json!(false),
            None,
        );
        check(
            &format!(r#"{{"id": 7, "query": "AND", {device}}}"#),
            json!("error"),
            Some("character 1: AND stands"),
        );
        check(&format!("{{{device}}}"), json!("error"), Some("no query"));
        check(r#"{"query": "a"}"#, json!("error"), Some("no JSON object"));
        check(
            r#"{"query": 7, "device": {}}"#,
            json!("error"),
            Some("no query"),
        );
        check("7", json!("error"), Some("no query"));
        check("{\"a\":", json!("error"), Some("no JSON"));
    }

    #[test]
    fn cases_come_as_an_array_as_a_part_or_as_lines() {
        for file in [
            r#"[{"id": 1}, {"id": 2}]"#,
            r#"{"cases": [{"id": 1}, {"id": 2}], "about": ""}"#,
            "{\"id\": 1}\n\n{\"id\": 2}\n",
        ] {
            let ids: Vec<_> = parse(file).iter().map(|case| case["id"].clone()).collect();
            assert_eq!(ids, [1, 2], "{file}");
        }
        assert_eq!(parse("{\"id\": 1}\n{\n")[1]["id"], "line 2");
    }

    #[test]
    fn a_case_that_cannot_be_read_costs_no_other() {
        let good = r#"{"id": 1, "query": "thingName:a", "device": {"thingName": "a"}}"#;
        let levels = 130;
        let deep = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let deep = format!(r#"{{"id": 2, "query": "a:1", "expected": true, "device": {deep}}}"#);
        for (file, ids) in [
            (format!("[{good},\n{deep}, {good}]"), json!([1, 2, 1])),
            (
                format!(r#"{{"about": [1], "cases": [{deep}, {good}]}}"#),
                json!([2, 1]),
            ),
            (format!("{good}\n{deep}\n"), json!([1, 2])),
            (deep.replace(':', ":\n"), json!([2])),
            (format!("[{good}, nonsense]"), json!([1, "case 2"])),
        ] {
            let cases = parse(&file);
            let found: Value = cases.iter().map(|case| case["id"].clone()).collect();
            assert_eq!(found, ids, "{file}");
            for case in cases {
                let expected = if case["id"] == 1 {
                    json!(true)
                } else {
                    json!("error")
                };
                assert_eq!(outcome(&case, Language::Aws).0, expected, "{case}");
            }
        }
        // It was to come out otherwise.
        assert_eq!(parse(&format!("[{deep}]"))[0]["expected"], true);
    }

    #[test]
    fn only_scored_cases_fail_a_run() {
        let mut score = Score::default();
        score.count(&json!({ "expected": true }), &json!(true));
        score.count(&json!({}), &json!(true));
        score.count(
            &json!({ "expected": true, "ambiguous": true }),
            &json!("error"),
        );
        assert_eq!(score.report(), Exit::Done);
        score.count(
            &json!({ "expected": true, "ambiguous": false }),
            &json!(false),
        );
        assert_eq!(score.report(), Exit::Failed);
    }
}
