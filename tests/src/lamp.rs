//! The operator's command line, run against the stack.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// `lamp`, as `make build` or `make smoke-aws` has left it.
pub fn lamp() -> Command {
    let beside = std::env::current_exe().expect("a path");
    let built = beside.parent().and_then(Path::parent).expect("a directory");
    let mut command = Command::new(built.join("lamp"));
    if let Ok(outputs) = std::env::var("LAMPLIGHTER_OUTPUTS") {
        command.env("LAMP_OUTPUTS", outputs);
    } else {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        command.current_dir(root);
    }
    command
}

/// Runs it for its JSON.
pub fn run(arguments: &[&str]) -> Output {
    let output = lamp().args(arguments).args(["--output", "json"]).output();
    output.expect("lamp runs")
}

/// What it wrote, a JSON document a line.
pub fn documents(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}
