//! The fault layer of the local cloud: calls recorded, calls struck.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud};

/// How a call is struck.
pub const CRASHES: [&str; 3] = ["kill-before", "kill-after", "drop-reply"];

/// One call of an undisturbed run: the n-th of its operation. Calls made at
/// once come in any order, so this names a call more surely than its place
/// among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The operation, for example `iot:CreateThing`.
    pub operation: String,
    /// Which of the run's calls to it.
    pub nth: u64,
}

/// The calls that functions made along a trace.
pub async fn points(cloud: &Cloud, trace: &str) -> Vec<Point> {
    let calls = control(cloud, "GET", &format!("calls?trace={trace}"), &Value::Null).await;
    let mut counts = BTreeMap::new();
    calls
        .as_array()
        .expect("a list of calls")
        .iter()
        .map(|call| {
            let operation = call["operation"].as_str().expect("an operation").to_owned();
            let nth = counts
                .entry(operation.clone())
                .and_modify(|n| *n += 1)
                .or_insert(1);
            Point {
                operation,
                nth: *nth,
            }
        })
        .collect()
}

/// Strikes one call of a trace. The answer is the fault's number.
pub async fn strike(cloud: &Cloud, trace: &str, point: &Point, mode: &str) -> u64 {
    strike_from(cloud, trace, point, mode, 1).await
}

/// Strikes one call of a trace, and as many of the same operation that follow
/// it as make `times` in all.
pub async fn strike_from(cloud: &Cloud, trace: &str, point: &Point, mode: &str, times: u64) -> u64 {
    let fault = json!({
        "trace": trace, "operation": point.operation, "nth": point.nth, "mode": mode,
        "times": times,
    });
    set(cloud, &fault).await
}

/// Sets a fault as the control endpoint describes it.
pub async fn set(cloud: &Cloud, fault: &Value) -> u64 {
    let answer = control(cloud, "POST", "faults", fault).await;
    answer["id"].as_u64().expect("a number")
}

/// How often a fault has fired.
pub async fn fired(cloud: &Cloud, fault: u64) -> u64 {
    let found = control(cloud, "GET", &format!("faults?id={fault}"), &Value::Null).await;
    found[0]["fired"].as_u64().expect("a count")
}

async fn control(cloud: &Cloud, method: &'static str, path: &str, body: &Value) -> Value {
    let mut ask = Ask::new(method, format!("/_lamplighter/{path}"));
    if !body.is_null() {
        ask = ask.text(body.to_string());
    }
    cloud.aws("lambda", &ask).await.expect(200)
}
