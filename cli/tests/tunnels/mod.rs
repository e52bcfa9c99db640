//! What `lamp tunnel open` says of a tunnel, and what it leaves alone.

use std::fs;

use serde_json::json;

use crate::service::{Reply, Service, lamp};

fn open(service: &Service, file: &str, more: &[&str]) -> (i32, String) {
    let words = [
        "tunnel",
        "open",
        "x",
        "--service",
        "SSH",
        "--minutes",
        "5",
        "--reason",
        "y",
        "--token-file",
        file,
    ];
    let run = lamp(service, &[&words[..], more].concat());
    (run.exit, run.stderr)
}

/// A service that opens a tunnel, to which the device is connected or not.
fn opening(connected: bool) -> Service {
    Service::answering(move |number| {
        let mut tunnel = json!({"tunnelId": "tunnel-1", "thingName": "x", "status": "OPEN"});
        if number == 0 {
            tunnel["sourceAccessToken"] = "AQGA".into();
            return Reply::new(201, tunnel);
        }
        tunnel["connected"] = json!({"source": false, "destination": connected});
        Reply::new(200, tunnel)
    })
}

#[test]
fn a_tunnel_that_its_light_does_not_take_is_told_of() {
    for (connected, said) in [(true, ""), (false, "x has not connected to its tunnel")] {
        let service = opening(connected);
        let file = service.file("other", "");
        let (exit, stderr) = open(&service, &format!("{file}.token"), &[]);
        assert_eq!(exit, 0, "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(stderr.is_empty(), connected, "{stderr}");
    }
}

#[test]
fn a_token_that_is_there_is_not_replaced_unasked() {
    let service = opening(true);
    let file = service.file("a.token", "the only one");
    let (exit, stderr) = open(&service, &file, &[]);
    assert_eq!(exit, 3, "{stderr}");
    assert!(stderr.contains("--force"), "{stderr}");
    assert!(service.seen().is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), "the only one");
    let (exit, stderr) = open(&service, &file, &["--force"]);
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "AQGA");
}

#[test]
fn a_refusal_names_the_options_of_the_command_line() {
    let problem = json!({"code": "Conflict", "field": "thingName", "reason": "x is away",
        "remedy": "Ask again when it is, or send waitMinutes to have it opened then."});
    let service = Service::answering(|_| Reply::new(409, problem.clone()));
    let file = service.file("other", "");
    let (exit, stderr) = open(&service, &format!("{file}.token"), &[]);
    assert_eq!(exit, 3, "{stderr}");
    assert!(stderr.contains("or add --queue to have"), "{stderr}");
    let missing = [
        "tunnel",
        "connect",
        "--token-file",
        "/nowhere/t",
        "--listen",
        "0",
    ];
    let run = lamp(&service, &missing);
    assert!(run.stderr.contains("lamp tunnel open"), "{run:?}");
}
