//! What becomes of the names and ids that a person writes into a path.

use serde_json::{Value, json};

use crate::lines;
use crate::service::{Reply, Service, lamp};

#[test]
fn what_names_nothing_is_refused_and_never_sent() {
    let service = Service::answering(|_| Reply::new(200, Value::Null));
    for (arguments, field) in [
        (&["device", "show", "../x"][..], "thingName"),
        (&["device", "renew", "../x"], "thingName"),
        (&["device", "delete", "a/b"], "thingName"),
        (&["tunnel", "list", "../x"], "thingName"),
        (&["group", "show", "../x"], "groupName"),
        (&["policy", "resume", "../x"], "policyName"),
        (&["sweep", "pause", "../x"], "sweepId"),
        (&["operation", "show", "../x"], "operationId"),
    ] {
        let run = lamp(&service, &[arguments, &["--output", "json"]].concat());
        assert_eq!(run.exit, 3, "{arguments:?}: {run:?}");
        assert_eq!(lines(&run.stdout)[0]["error"]["field"], field, "{run:?}");
    }
    assert_eq!(service.seen().len(), 0);
}

#[test]
fn each_command_to_a_sweep_is_its_own_request() {
    let sweep = json!({ "sweepId": "sweep-1", "status": "RUNNING", "due": 9, "doneAt": 0 });
    for (arguments, target) in [
        (&["start", "--since", "2026-01-31"][..], "/api/sweeps"),
        (&["show", "sweep-1"], "/api/sweeps/sweep-1"),
        (&["approve", "sweep-1"], "/api/sweeps/sweep-1/approval"),
        (&["pause", "sweep-1"], "/api/sweeps/sweep-1/pause"),
        (&["resume", "sweep-1"], "/api/sweeps/sweep-1/resume"),
        (&["abort", "sweep-1"], "/api/sweeps/sweep-1/abort"),
        (&["retry", "sweep-1"], "/api/sweeps/sweep-1/retry"),
    ] {
        let service = Service::answering(|_| Reply::new(200, sweep.clone()));
        let run = lamp(&service, &[&["sweep"][..], arguments].concat());
        assert_eq!(run.exit, 4, "{run:?}");
        assert!(run.stdout.contains("1970-01-01T00:00:00Z"), "{run:?}");
        let seen = &service.seen()[0];
        assert_eq!(seen.target, target);
        if arguments[0] == "start" {
            assert_eq!(seen.body, json!({ "dryRun": false, "since": "2026-01-31" }));
        }
    }
}
