//! Templates: what they declare, what is given, and what a document comes to.

use super::*;

const CATALOG: &str = include_str!("../../../../../examples/street-lights/catalog.yaml");
const CHECKSUM: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// As the example's catalog declares it.
fn firmware() -> Value {
    let catalog: Value = serde_yaml_ng::from_str(CATALOG).unwrap();
    catalog["jobTemplates"][0].clone()
}

fn given(more: &[(&str, Value)]) -> BTreeMap<String, Value> {
    let usual = [
        ("version", json!("2.4.0")),
        ("image", json!("s3://fleet-firmware/2.4.0.bin")),
    ];
    let all = usual.iter().chain(more);
    all.filter(|(_, value)| !value.is_null())
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

#[test]
fn the_street_lights_firmware_job() {
    let template = Template::from_value("", firmware()).unwrap();
    assert_eq!(
        template.thing_type.as_ref().unwrap().as_str(),
        "streetlight"
    );
    let prepared = template.prepare(&given(&[]), REGION).unwrap();
    assert_eq!(prepared.confirms.as_deref(), Some("2.4.0"));
    let object = S3Object::parse("image", "s3://fleet-firmware/2.4.0.bin").unwrap();
    assert_eq!(prepared.objects.iter().collect::<Vec<_>>(), [&object]);

    let unknown = prepared.clone().finish(&BTreeMap::new());
    refused(
        unknown,
        "parameters",
        "s3://fleet-firmware/2.4.0.bin",
        "not there",
    );
    let document = prepared
        .finish(&BTreeMap::from([(object, CHECKSUM.to_owned())]))
        .unwrap();
    let url = "${aws:iot:s3-presigned-url-v2:https://s3.eu-south-1.amazonaws.com/fleet-firmware/2.4.0.bin}";
    assert_eq!(
        document.steps[0].handler.args,
        [url, CHECKSUM, "firmware-2.4.0.bin"]
    );
    assert_eq!(
        document.steps[1].handler.args,
        ["firmware-2.4.0.bin", "other"]
    );
}

#[test]
fn parameters_are_declared_given_and_of_their_type() {
    for (name, value, field, says) in [
        ("colour", json!("red"), "parameters", "no \"colour\""),
        (
            "version",
            Value::Null,
            "parameters",
            "given for \"version\"",
        ),
        ("version", json!("2.4"), "parameters.version", "a text like"),
        ("version", json!(2.4), "parameters.version", "not a text"),
        ("version", json!(["2.4.0"]), "parameters.version", "a list"),
        (
            "image",
            json!("https://x/y"),
            "parameters.image",
            "no object",
        ),
        ("slot", json!("c"), "parameters.slot", "one of a, b, other"),
    ] {
        let template = Template::from_value("", firmware()).unwrap();
        let mut values = given(&[]);
        if value.is_null() {
            values.remove(name);
        } else {
            values.insert(name.to_owned(), value);
        }
        let case = format!("{values:?}");
        refused(template.prepare(&values, REGION), field, says, &case);
    }
}

fn check_kind(declared: Value, good: &[Value], bad: &[Value]) {
    let arg = json!(["x=${aws:iot:parameter:p}"]);
    let document = with(document(), "/steps/0/action/input/args", arg);
    let template = json!({"name": "t", "parameters": {"p": declared}, "document": document});
    let template = Template::parse(template.to_string().as_bytes()).unwrap();
    let given = |value: &Value| BTreeMap::from([("p".to_owned(), value.clone())]);
    for value in good {
        let prepared = template.prepare(&given(value), REGION).unwrap();
        let finished = prepared.finish(&BTreeMap::new()).unwrap();
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        assert_eq!(finished.steps[0].handler.args, [format!("x={text}")]);
    }
    for value in bad {
        let prepared = template.prepare(&given(value), REGION);
        let finished = prepared.and_then(|prepared| prepared.finish(&BTreeMap::new()));
        assert!(finished.is_err(), "{declared}: {value}");
    }
}

#[test]
fn types_of_parameters() {
    let more = "x".repeat(1025);
    check_kind(
        json!({"type": "string"}),
        &[
            json!(""),
            json!("a b"),
            json!("\"}, {\""),
            json!("\\"),
            json!("; id"),
        ],
        &[
            json!(1),
            json!("a\nb"),
            json!(more),
            json!("${aws:iot:s3-presigned-url:a/b}"),
            json!("a/../b"),
        ],
    );
    check_kind(
        json!({"type": "integer", "minimum": 1, "maximum": 10}),
        &[json!(1), json!("10")],
        &[json!(0), json!(11), json!(1.5), json!("one"), json!(true)],
    );
    check_kind(
        json!({"type": "number"}),
        &[json!(1.5), json!("-2")],
        &[json!("a"), json!("")],
    );
    check_kind(
        json!({"type": "boolean"}),
        &[json!(true), json!("false")],
        &[json!("yes"), json!(1)],
    );
    check_kind(
        json!({"type": "enum", "values": ["a", "b"]}),
        &[json!("a")],
        &[json!("A"), json!("")],
    );
}

#[test]
fn a_template_that_breaks_a_rule_is_refused_with_the_path() {
    let arg = "/document/steps/0/action/input/args/0";
    let input = "document.steps[0].action.input";
    let arg_field = format!("{input}.args[0]");
    let declare = |name: &str| format!("/parameters/{name}");
    for (pointer, value, field, says) in [
        ("/name", json!("a b"), "name", "contains"),
        ("/thingType", json!("a b"), "thingType", "contains"),
        ("/parameters", json!([]), "parameters", "a list"),
        (
            arg,
            json!("${aws:iot:parameter:nobody}"),
            &arg_field,
            "not declared",
        ),
        (
            arg,
            json!("x${aws:iot:parameter:image}"),
            &arg_field,
            "as its type",
        ),
        (
            arg,
            json!("${aws:iot:parameter:slot.sha256}"),
            &arg_field,
            "as its type",
        ),
        (arg, json!("x"), "parameters.image", "not used"),
        (
            "/document/steps/0/action/input/args/1",
            json!("x"),
            "parameters.image",
            "checksum",
        ),
        (
            "/confirmsFirmware",
            json!("${aws:iot:parameter:image}"),
            "confirmsFirmware",
            "as its type",
        ),
        (
            &declare("unused"),
            json!({"type": "string"}),
            "parameters.unused",
            "not used",
        ),
        (
            &declare("a b"),
            json!({"type": "string"}),
            "parameters.a b",
            "contains ' '",
        ),
        (
            &declare("slot"),
            json!({"type": "text"}),
            "parameters.slot.type",
            "no type",
        ),
        (
            &declare("slot"),
            json!({"type": "enum"}),
            "parameters.slot.values",
            "empty",
        ),
        (
            &declare("slot"),
            json!({"type": "integer", "default": "a"}),
            "parameters.slot.default",
            "whole",
        ),
        (
            &declare("slot"),
            json!({"type": "string", "pattern": "(a)"}),
            "parameters.slot.pattern",
            "pattern",
        ),
        (
            &declare("slot"),
            json!({"type": "string", "values": []}),
            "parameters.slot",
            "\"values\"",
        ),
        (
            "/document/steps/0/action/input/handler",
            json!("${aws:iot:parameter:slot}"),
            &format!("{input}.handler"),
            "no handler",
        ),
    ] {
        let case = with(firmware(), pointer, value).to_string();
        refused(Template::parse(case.as_bytes()), field, says, &case);
    }
}

#[test]
fn a_placeholder_that_nothing_replaces_is_refused() {
    let args = json!(["${HOME}"]);
    let case = with(firmware(), "/document/steps/2/action/input/args", args);
    let template = Template::parse(case.to_string().as_bytes()).unwrap();
    let field = "document.steps[2].action.input.args[0]";
    refused(
        template.prepare(&given(&[]), REGION),
        field,
        "nothing replaces",
        "HOME",
    );
}

#[test]
fn a_document_that_its_values_make_too_long_is_refused() {
    let uses = vec!["${aws:iot:parameter:p}"; 40];
    let document = with(document(), "/steps/0/action/input/args", json!(uses));
    let template =
        json!({"name": "t", "parameters": {"p": {"type": "string"}}, "document": document});
    let template = Template::parse(template.to_string().as_bytes()).unwrap();
    let values = BTreeMap::from([("p".to_owned(), json!("\"".repeat(1000)))]);
    let finished = template
        .prepare(&values, REGION)
        .unwrap()
        .finish(&BTreeMap::new());
    refused(finished, "document", "bytes long", "40 kB");
}
