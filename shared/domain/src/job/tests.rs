//! Job documents and templates as data.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::document::MOST_BYTES;
use super::{Document, S3Object, Template};
use crate::failure::Failure;

mod templates;

const REGION: &str = "eu-south-1";

fn step(name: &str) -> Value {
    json!({"action": {"name": name, "type": "runHandler", "input": {"handler": "a.sh"}}})
}

fn document() -> Value {
    json!({"version": "1.0", "steps": [step("one"), step("two")], "finalStep": step("end")})
}

/// The document with a value put at a place in it.
fn with(mut whole: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match whole.pointer_mut(parent).unwrap() {
        Value::Object(object) => {
            object.insert(name.to_owned(), value);
        }
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} leads to {other}"),
    }
    whole
}

fn refused(result: Result<impl std::fmt::Debug, Failure>, field: &str, says: &str, case: &str) {
    let failure = result.expect_err(case);
    assert_eq!(failure.field.as_deref(), Some(field), "{case}: {failure}");
    assert!(failure.reason.contains(says), "{case}: {failure}");
    assert!(!failure.remedy.is_empty(), "{case}");
}

#[test]
fn what_is_no_object_is_wrong_as_a_whole() {
    for text in ["[]", "\"steps\"", "7", "null"] {
        let found = Document::parse(text.as_bytes());
        refused(found, "body", "an object", text);
        let found = Template::parse(text.as_bytes());
        refused(found, "body", "an object", text);
    }
}

#[test]
fn a_document_is_read_and_written_alike() {
    let text = document().to_string();
    let read = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(read.steps.len(), 2);
    assert_eq!(Document::parse(read.json().as_bytes()).unwrap(), read);
    let stored = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Document>(&stored).unwrap(), read);
    // The Device Client would look for a handler in the PATH otherwise.
    assert!(read.json().contains(r#""path":"default""#));
    // AWS's own sample, with its comment.
    let sample = with(document(), "/_comment", json!("for installing wget"));
    Document::parse(sample.to_string().as_bytes()).unwrap();
}

#[test]
fn a_document_that_breaks_a_rule_is_refused_with_the_path() {
    let at = "/steps/1/action";
    for (pointer, value, field, says) in [
        ("/version", json!("2.0"), "version", "no version"),
        ("/version", json!(1.0), "version", "a number"),
        ("/version", Value::Null, "version", "missing"),
        ("/steps", json!([]), "steps", "0 steps"),
        ("/steps", json!({}), "steps", "an object"),
        ("/steps/0", json!([]), "steps[0]", "a list"),
        ("/steps/0", step("two"), "steps", "named \"two\""),
        ("/finalStep", json!({}), "finalStep.action", "missing"),
        ("/conditions", json!([]), "body", "\"conditions\""),
        ("/steps/1/x", json!(1), "steps[1]", "\"x\""),
        (at, json!(7), "steps[1].action", "a number"),
    ] {
        let case = with(document(), pointer, value).to_string();
        refused(Document::parse(case.as_bytes()), field, says, &case);
    }
    for (name, value, field, says) in [
        ("name", json!(""), "name", "no name"),
        ("name", json!("a\nb"), "name", "no name"),
        ("type", json!("runCommand"), "type", "runCommand"),
        ("type", json!("reboot"), "type", "no type"),
        ("runAsUser", json!("root; id"), "runAsUser", "no user"),
        ("runAsUser", json!("-u"), "runAsUser", "no user"),
        (
            "ignoreStepFailure",
            json!(true),
            "ignoreStepFailure",
            "neither",
        ),
        ("allowStdErr", json!(-1), "allowStdErr", "a number"),
        ("command", json!("id"), "", "\"command\""),
    ] {
        let case = with(document(), &format!("{at}/{name}"), value).to_string();
        let field = format!("steps[1].action.{field}");
        refused(
            Document::parse(case.as_bytes()),
            field.trim_end_matches('.'),
            says,
            &case,
        );
    }
}

#[test]
fn what_would_leave_the_folder_of_handlers_is_refused() {
    let input = "/finalStep/action/input";
    for handler in [
        "",
        "../a.sh",
        "a/b.sh",
        "/bin/sh",
        "..",
        ".hidden",
        "-c",
        "a..b",
        "a;b",
        "a b",
        "a|b",
        "a&b",
        "$(id)",
        "`id`",
        "a\n",
        "a>b",
        "a*",
        "~",
        "${aws:iot:parameter:handler}",
        "é",
    ] {
        let case = with(document(), &format!("{input}/handler"), json!(handler)).to_string();
        let read = Document::parse(case.as_bytes());
        refused(read, "finalStep.action.input.handler", "", &case);
    }
    for path in [
        "tmp", "/../etc", "/a/./b", "/a/../b", "/a b", "/$HOME", "/", "//", "~/jobs", "/a;b",
    ] {
        let case = with(document(), &format!("{input}/path"), json!(path)).to_string();
        refused(
            Document::parse(case.as_bytes()),
            "finalStep.action.input.path",
            "",
            &case,
        );
    }
    for arg in [
        "../x",
        "a/../b",
        "..",
        "/tmp/..",
        "a\\..\\b",
        "a\nb",
        "a\u{0}b",
        "\u{1b}[2J",
    ] {
        let case = with(document(), &format!("{input}/args"), json!(["ok", arg])).to_string();
        refused(
            Document::parse(case.as_bytes()),
            "finalStep.action.input.args[1]",
            "",
            &case,
        );
    }
    // No shell comes between, so these are an argument like any other.
    for arg in [
        "; rm -rf /",
        "$(id)",
        "`id`",
        "a && b",
        "https://x/?a=1&b=..2",
        "...",
    ] {
        let case = with(document(), &format!("{input}/args"), json!([arg])).to_string();
        Document::parse(case.as_bytes()).unwrap();
    }
    let path = with(
        document(),
        &format!("{input}/path"),
        json!("/opt/lamp/jobs/"),
    );
    Document::parse(path.to_string().as_bytes()).unwrap();
}

#[test]
fn text_that_is_no_document() {
    refused(
        Document::parse(b"{\n  \"version\": }"),
        "document",
        "line 2 column 14",
        "syntax",
    );
    let twice = br#"{"version": "1.0", "version": "1.0"}"#;
    refused(Document::parse(twice), "document", "twice", "twice");
    let room = MOST_BYTES - with(document(), "/_comment", json!("")).to_string().len();
    for (more, fits) in [(0, true), (1, false)] {
        let long = with(document(), "/_comment", json!("x".repeat(room + more))).to_string();
        let failure = Document::parse(long.as_bytes()).err();
        assert_eq!(failure.is_none(), fits);
        assert!(failure.is_none_or(|failure| failure.http_status() == 413));
    }
}

proptest! {
    /// Whatever a value is, the document keeps its shape: the value is inside
    /// its own argument, or the document is refused.
    #[test]
    fn a_value_never_escapes_its_argument(value in any::<String>()) {
        let args = json!(["before", "<${aws:iot:parameter:p}>", "after"]);
        let document = with(document(), "/steps/0/action/input/args", args);
        let template = json!({"name": "t", "parameters": {"p": {"type": "string"}}, "document": document});
        let template = Template::parse(template.to_string().as_bytes()).unwrap();
        let values = BTreeMap::from([("p".to_owned(), json!(value.clone()))]);
        let sent = template.prepare(&values, REGION).and_then(|p| p.finish(&BTreeMap::new()));
        if let Ok(sent) = sent {
            let read: Value = serde_json::from_str(&sent.json()).unwrap();
            let args = &read["steps"][0]["action"]["input"]["args"];
            prop_assert_eq!(args, &json!(["before", format!("<{value}>"), "after"]));
            prop_assert_eq!(read["steps"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>()) {
        let _ = Document::parse(text.as_bytes());
        let _ = Template::parse(text.as_bytes());
        let _ = super::object::objects_in("args", &text);
        let _ = super::parameters::uses(&format!("${{aws:iot:parameter:{text}"));
        if let Ok(pattern) = super::pattern::Pattern::parse("pattern", &text) {
            let _ = pattern.matches(&text);
        }
    }
}
