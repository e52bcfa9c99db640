//! What `lamp` sends, prints and exits with, against a service with a script.

mod enrol;
mod jobs;
mod names;
mod service;
mod tunnels;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use service::{Reply, Service, lamp};

pub(crate) fn problem(code: &str, field: &str) -> Value {
    json!({ "code": code, "field": field, "reason": "so it is", "remedy": "do that",
            "operationId": "op-1" })
}

fn device(name: &str) -> Value {
    json!({ "thingName": name, "status": "ACTIVE", "certificateId": "c".repeat(64),
            "certificatePem": "-----BEGIN CERTIFICATE-----\n", "custody": "device",
            "operationId": "op-1" })
}

pub(crate) fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn each_kind_of_answer_has_its_exit_code() {
    for (reply, exit) in [
        (Reply::new(200, device("x")), 0),
        (Reply::new(500, problem("Bug", "x")), 1),
        (Reply::new(404, problem("NotFound", "thingName")), 3),
        (Reply::new(403, json!({ "message": "Forbidden" })), 3),
        (
            Reply::new(503, problem("Busy", "x")).header("Retry-After", "0"),
            4,
        ),
    ] {
        let service = Service::answering(|_| reply.clone());
        let run = lamp(
            &service,
            &["--tries", "2", "device", "show", "x", "--output", "json"],
        );
        assert_eq!(run.exit, exit, "{run:?}");
        assert_eq!(lines(&run.stdout).len(), 1, "{run:?}");
        assert_eq!(
            lines(&run.stdout)[0]["error"].is_null(),
            exit == 0,
            "{run:?}"
        );
    }
}

#[test]
fn usage_is_exit_code_2_and_sends_nothing() {
    let service = Service::answering(|_| Reply::new(200, Value::Null));
    let wrong = service.file("devices.csv", "thingName,custody\nx,safe\n");
    for arguments in [
        &["device", "create"][..],
        &["device", "create", "x", "--from", "y"],
        &["device", "create", "--from", "/nowhere"],
        &["device", "create", "--from", &wrong],
        &["device", "delete"],
        &["catalog", "apply", "/nowhere"],
        &["cert", "due", "--within", "367"],
        &["nonsense"],
    ] {
        let run = lamp(&service, arguments);
        assert_eq!(run.exit, 2, "{arguments:?}: {run:?}");
    }
    assert_eq!(service.seen().len(), 0);
}

#[test]
fn requests_are_signed_for_the_callers_session() {
    let service = Service::answering(|_| Reply::new(200, device("x")));
    assert_eq!(lamp(&service, &["device", "show", "x"]).exit, 0);
    let seen = &service.seen()[0];
    let authorization = &seen.headers["authorization"];
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/")
            && authorization.contains("/eu-south-1/execute-api/aws4_request"),
        "{authorization}"
    );
    assert_eq!(seen.headers["x-amz-security-token"], "TOKEN");
}

#[test]
fn a_busy_service_is_asked_again_and_a_person_reads_why_not() {
    let service = Service::answering(|n| match n {
        0 => Reply::lost(),
        1 => Reply::new(503, problem("Busy", "x")).header("Retry-After", "0"),
        2 => Reply::new(503, problem("Unknown", "x")).header("Retry-After", "0"),
        _ => Reply::new(409, problem("Conflict", "attributes")),
    });
    let run = lamp(&service, &["device", "show", "x"]);
    assert_eq!((run.exit, service.seen().len()), (3, 4), "{run:?}");
    assert_eq!(
        run.stderr,
        "refused: attributes: so it is\n  remedy: do that\n  answer: HTTP 409, Conflict, \
         operation op-1\n"
    );
}

#[test]
fn creation_by_file_makes_keys_once_and_is_repeatable() {
    let service = Service::answering(|n| Reply::new(if n < 3 { 201 } else { 200 }, device("?")));
    let file = service.file(
        "devices.csv",
        "thingName,thingType,groups,custody,attributes.city\n\
         b,streetlight,milan,device,milan\na,streetlight,milan,vault,milan\n../c,,,device,\n",
    );
    let keys = service.path("keys");
    let arguments = [
        "device",
        "create",
        "--from",
        &file,
        "--keys-dir",
        &keys,
        "--output",
        "json",
    ];
    let first = lamp(&service, &arguments);
    assert_eq!(first.exit, 3, "{first:?}");
    let documents = lines(&first.stdout);
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0]["created"], true);
    assert_eq!(documents[0]["keyPath"], format!("{keys}/b.key.pem"));
    assert_eq!(documents[1]["keyPath"], Value::Null);
    assert_eq!(
        documents[2]["thingName"], "../c",
        "a name that is no file name is refused"
    );
    assert_eq!(documents[2]["error"]["field"], "thingName");
    assert_eq!(
        fs::metadata(format!("{keys}/b.key.pem"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );

    assert_eq!(lamp(&service, &arguments).exit, 3);
    let mut sent: Vec<Value> = service
        .seen()
        .iter()
        .map(|seen| seen.body.clone())
        .collect();
    sent.sort_by_key(|body| body["thingName"].to_string());
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[0], sent[1], "the same request again");
    assert_eq!(
        sent[2], sent[3],
        "the same request again, with the same signing request"
    );
    assert_eq!(
        sent[0],
        json!({ "thingName": "a", "thingType": "streetlight", "groups": ["milan"],
                "attributes": { "city": "milan" } })
    );
    assert!(
        sent[2]["csr"]
            .as_str()
            .unwrap()
            .contains("CERTIFICATE REQUEST")
    );
}

#[test]
fn the_authority_is_made_once_and_followed_by_name() {
    let authority = |id: &str| {
        json!({ "authorityId": id.repeat(40), "status": "ACTIVE", "subject": "Milan lights",
                "notBefore": 0, "notAfter": 1000, "certificatePem": "PEM" })
    };
    let made = authority("a");
    let service = Service::answering(|n| Reply::new(if n == 0 { 201 } else { 200 }, made.clone()));
    for created in [true, false] {
        let run = lamp(
            &service,
            &[
                "ca",
                "init",
                "--subject",
                "Milan lights",
                "--years",
                "12",
                "--output",
                "json",
            ],
        );
        assert_eq!(
            (run.exit, lines(&run.stdout)[0]["created"].clone()),
            (0, json!(created))
        );
    }
    let seen = service.seen();
    assert_eq!(seen[0].target, "/api/authorities");
    assert_eq!(
        seen[0].body,
        json!({ "subject": "Milan lights", "years": 12 })
    );

    let service = Service::answering(|n| match n {
        0 => Reply::new(200, json!({ "items": [authority("a")] })),
        1 => Reply::lost(),
        _ => Reply::new(200, authority("b")),
    });
    let run = lamp(&service, &["ca", "rotate"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stdout.contains("1970-01-01T00:00:01Z"), "{run:?}");
    let seen = service.seen();
    assert_eq!(seen[1].body, json!({ "replaces": "a".repeat(40) }));
    assert_eq!(seen[1].body, seen[2].body, "the same request again");

    let service = Service::answering(|_| Reply::new(200, json!({ "items": [] })));
    assert_eq!(lamp(&service, &["ca", "list"]).exit, 0);
    assert_eq!(lamp(&service, &["ca", "rotate"]).exit, 3);
    assert_eq!(service.seen().len(), 2, "there is nothing to follow");
}

#[test]
fn deletion_is_pending_until_it_is_proven() {
    let line = |clear: bool| {
        json!({ "subject": "thing", "looked": "DescribeThing", "found": "-",
                                     "clear": clear })
    };
    let operation = |status: &str, clear: bool| {
        json!({ "operationId": "op-1", "kind": "DELETE", "thingName": "x", "status": status,
                "proof": [line(clear)] })
    };
    let accepted = || Reply::new(202, json!({ "operationId": "op-1", "status": "RUNNING" }));
    let service = Service::answering(|_| accepted());
    let run = lamp(&service, &["device", "delete", "x", "--output", "json"]);
    assert_eq!((run.exit, service.seen().len()), (4, 1), "{run:?}");

    for (end, exit) in [(operation("DONE", true), 0), (operation("DONE", false), 1)] {
        let service = Service::answering(|n| match n {
            0 => accepted(),
            1 => Reply::new(200, json!({ "operationId": "op-1", "status": "RUNNING" })),
            _ => Reply::new(200, end.clone()),
        });
        let run = lamp(
            &service,
            &["device", "delete", "x", "--wait", "--output", "json"],
        );
        assert_eq!(
            (run.exit, lines(&run.stdout)[0].clone()),
            (exit, end),
            "{run:?}"
        );
    }

    let service = Service::answering(|_| {
        Reply::new(
            200,
            json!({ "thingName": "x", "status": "ABSENT", "message": "not there" }),
        )
    });
    let run = lamp(&service, &["device", "delete", "x", "--wait"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(run.stdout.contains("not there"), "{run:?}");
}

#[test]
fn a_lost_reply_loses_no_key() {
    let credentials = json!({ "thingName": "x", "certificateId": "c", "certificatePem": "CERT",
                              "privateKeyPem": "SECRET" });
    let service = Service::answering(|n| {
        let conflict = problem("Conflict", "renewal");
        match n {
            0 => Reply::lost(),
            1 => Reply::new(200, credentials.clone()),
            _ => Reply::new(409, conflict),
        }
    });
    let keys = service.path("keys");
    let arguments = ["device", "credentials", "x", "--keys-dir", &keys];

    // The first run ends without the reply; the next asks as the same caller.
    assert_eq!(
        lamp(&service, &[&["--tries", "1"][..], &arguments].concat()).exit,
        1
    );
    let run = lamp(&service, &arguments);
    assert_eq!(run.exit, 0, "{run:?}");
    let seen = service.seen();
    assert_eq!(
        seen[0].headers["idempotency-key"],
        seen[1].headers["idempotency-key"]
    );
    assert_eq!(
        fs::read_to_string(format!("{keys}/x.key.pem")).unwrap(),
        "SECRET"
    );
    assert!(
        !run.stdout.contains("SECRET") && !run.stderr.contains("SECRET"),
        "{run:?}"
    );

    // A key that is here is not asked for again, but for a renewal's.
    let run = lamp(&service, &arguments);
    assert_eq!((run.exit, service.seen().len()), (3, 3), "{run:?}");
    assert_eq!(service.seen()[2].body["renewal"], true);
    for says in [
        "the key of x is here already",
        "x.key.pem",
        "lamp device renew --vault x",
    ] {
        assert!(run.stderr.contains(says), "{says}: {run:?}");
    }
    assert_ne!(service.seen()[1].body["renewal"], true);
}

#[test]
fn strictly_once_is_never_repeated() {
    let service = Service::answering(|_| Reply::lost());
    let keys = service.path("keys");
    let run = lamp(
        &service,
        &[
            "device",
            "credentials",
            "x",
            "--strict-once",
            "--keys-dir",
            &keys,
        ],
    );
    assert_eq!((run.exit, service.seen().len()), (1, 1), "{run:?}");
    assert!(!service.seen()[0].headers.contains_key("idempotency-key"));
}

#[test]
fn a_list_follows_every_page_and_its_filters() {
    let service = Service::answering(|n| {
        Reply::new(
            200,
            match n {
                0 => json!({ "items": [device("a")], "nextCursor": "x/y" }),
                1 => json!({ "items": [], "nextCursor": "z" }),
                _ => json!({ "items": [device("b")] }),
            },
        )
    });
    let run = lamp(
        &service,
        &[
            "device",
            "list",
            "--attribute",
            "city=milan",
            "--output",
            "json",
        ],
    );
    assert_eq!(run.exit, 0, "{run:?}");
    assert_eq!(lines(&run.stdout), [device("a"), device("b")]);
    let targets: Vec<_> = service
        .seen()
        .iter()
        .map(|seen| seen.target.clone())
        .collect();
    assert_eq!(
        targets[1],
        "/api/devices?limit=100&attribute=city%3Dmilan&cursor=x%2Fy"
    );
}

#[test]
fn a_catalog_is_sent_as_json_and_a_refusal_is_exit_code_3() {
    for (refused, exit) in [
        (json!([]), 0),
        (json!([{ "kind": "policy", "name": "p" }]), 3),
    ] {
        let service = Service::answering(|_| {
            Reply::new(
                200,
                json!({ "status": "PLANNED", "changes": [], "unchanged": [], "refused": refused }),
            )
        });
        let file = service.file("catalog.yaml", "thingTypes:\n  - name: streetlight\n");
        let run = lamp(&service, &["catalog", "plan", &file]);
        assert_eq!(run.exit, exit, "{run:?}");
        let seen = &service.seen()[0];
        assert_eq!(seen.target, "/api/catalog?dryRun=true");
        assert_eq!(seen.body["thingTypes"][0]["name"], "streetlight");
    }
}

#[test]
fn names_are_preregistered_in_batches() {
    let service = Service::answering(|n| {
        Reply::new(
            200,
            json!({ "preregistered": [n.to_string()], "alreadyPreregistered": [] }),
        )
    });
    let names: Vec<String> = (0..60).map(|n| format!("light-{n}")).collect();
    let file = service.file("names.csv", &format!("thingName\n{}\n", names.join("\n")));
    let arguments = [
        "device",
        "preregister",
        "--profile",
        "p",
        "--from",
        &file,
        "--output",
        "json",
    ];
    let run = lamp(&service, &arguments);
    assert_eq!(run.exit, 0, "{run:?}");
    assert_eq!(lines(&run.stdout)[0]["preregistered"], json!(["0", "1"]));
    assert_eq!(
        service.seen()[1].body["thingNames"]
            .as_array()
            .unwrap()
            .len(),
        10
    );
}

#[test]
fn a_device_wants_a_key_an_endpoint_and_a_name() {
    let service = Service::answering(|_| Reply::new(200, Value::Null));
    let keys = service.path("keys");
    let endpoint = ["--endpoint", "127.0.0.1:1", "--keys-dir", &keys];
    let run = |arguments: &[&str], rest: &[&str]| lamp(&service, &[arguments, rest].concat()).exit;
    for (arguments, exit) in [
        (&["device", "run"][..], 2),
        (&["device", "run", "--thing", "../x"], 3),
        // A device that was never created here.
        (&["device", "run", "--thing", "x"], 3),
        (
            &["device", "run", "--thing", "x", "--misbehave", "steal"],
            2,
        ),
        (&["device", "run", "--thing", "x", "--for", "0"], 2),
        (
            &["device", "run", "--thing", "x", "--server-ca", "/nowhere"],
            2,
        ),
        (&["fleet", "run"], 2),
        (&["fleet", "run", "--devices", "1"], 2),
    ] {
        assert_eq!(run(arguments, &endpoint), exit, "{arguments:?}");
    }
    // The service's outputs name no broker.
    assert_eq!(run(&["device", "run", "--thing", "x"], &endpoint[2..]), 2);
    assert_eq!(service.seen().len(), 0);
}

#[test]
fn what_is_due_is_listed_over_every_page_up_to_a_day() {
    let row = |name: &str| {
        json!({ "thingName": name, "certificateId": "c".repeat(64), "issuer": "kms-ca",
                "dueAt": 0, "notAfter": 1_772_360_101_000_u64 })
    };
    let service = Service::answering(|n| {
        Reply::new(
            200,
            match n {
                0 => json!({ "items": [], "nextCursor": "x" }),
                1 => json!({ "items": [row("a")], "nextCursor": "y" }),
                _ => json!({ "items": [row("b")] }),
            },
        )
    });
    let run = lamp(&service, &["cert", "due", "--within", "30"]);
    assert_eq!((run.exit, service.seen().len()), (0, 3), "{run:?}");
    assert!(run.stdout.contains("2026-03-01T10:15:01Z"), "{run:?}");
    assert!(run.stderr.contains("2 certificates, 2 due now"), "{run:?}");
    let target = &service.seen()[1].target;
    assert!(
        target.starts_with("/api/certificates?due=..2") && target.ends_with("&cursor=x"),
        "{target}"
    );
}
