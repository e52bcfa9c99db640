//! The language's cases: what each query says of a device.

use serde_json::Value;

use super::*;

fn outcome(query: &str, device: &Value, language: Language) -> Value {
    match Query::parse(query, language) {
        Ok(parsed) => Value::from(parsed.query.matches(&document(device))),
        Err(_) => Value::from("error"),
    }
}

#[test]
fn every_case_comes_out_as_it_should() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../fixtures/group-queries.json")).unwrap();
    let differing: Vec<_> = cases
        .iter()
        .filter(|case| {
            let query = case["query"].as_str().unwrap();
            outcome(query, &case["device"], Language::Aws) != case["expected"]
        })
        .map(|case| format!("{} ({}): {}", case["id"], case["expected"], case["query"]))
        .collect();
    assert_eq!(differing, [""; 0]);
    assert_eq!(cases.len(), 232);
}
