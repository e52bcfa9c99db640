//! Suspicion: the certificate is replaced first; a light is never cut off on
//! suspicion, and what an audit finds is acted upon.

use std::time::{Duration, Instant};

use lamplighter_tests::cases::{case, certificate, opened, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, created};
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::inventory::row;
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::running::{Created, of};
use serde_json::{Value, json};

/// Waits until a row of a device has a value.
async fn until(cloud: &Cloud, thing: &str, sk: &str, pointer: &str) -> Value {
    let started = Instant::now();
    loop {
        let row = row(cloud, &format!("DEVICE#{thing}"), sk).await;
        match row.pointer(pointer) {
            Some(found) => return found.clone(),
            None => assert!(started.elapsed() < PATIENCE, "no {pointer} in {row}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until a case says something.
async fn says(cloud: &Cloud, id: &str, field: &str) -> Value {
    let started = Instant::now();
    loop {
        let case = case(cloud, id).await;
        if !case[field].is_null() {
            return case;
        }
        assert!(started.elapsed() < PATIENCE, "no {field} in {case}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_suspected_certificate_is_replaced_while_the_light_goes_on() {
    let cloud = Cloud::open();
    let light = Created::new("suspect", &[]);
    let (thing, device) = (&light.thing, light.run(&[]));
    device.says("connected").await;
    let reported = lamp()
        .args(["cert", "compromised", thing, "--suspected"])
        .args(["--reason", "its twin was stolen", "--output", "json"])
        .output()
        .expect("lamp runs");
    assert_eq!(reported.status.code(), Some(4), "{reported:?}");
    let opened = documents(&reported).remove(0);
    let reason = until(&cloud, thing, "ROTATION", "/reason/S").await;
    assert_eq!(reason, "SUSPECTED");
    let id = opened["caseId"].as_str().expect("an id");
    let case = says(&cloud, id, "replacedAt").await;
    assert!(case["overdueAt"].is_null(), "{case}");
    let old = case["certificateId"].as_str().expect("an id");
    assert_ne!(certificate(&cloud, old).await.0, "ACTIVE");
    let said = device.stop();
    assert!(of(&said, "refused").is_empty(), "{said:?}");
    let gap = said.last().expect("a summary")["longestGapMillis"].as_u64();
    assert!(gap.is_some_and(|gap| gap < 8000), "{said:?}");
    let closed = lamp().args(["case", "close", id]).output();
    assert!(closed.expect("lamp runs").status.success());
}

#[tokio::test]
async fn a_light_that_does_not_answer_stays_reported_and_in_force() {
    let cloud = Cloud::open();
    let thing = unique("silent");
    created(
        &cloud,
        &json!({"thingName": thing, "csr": Key::make(&thing).csr}),
    )
    .await;
    let id = opened(&cloud, &thing, "suspected").await["caseId"].clone();
    let case = says(&cloud, id.as_str().expect("an id"), "overdueAt").await;
    let old = case["certificateId"].as_str().expect("an id");
    assert_eq!(case["status"], "OPEN", "{case}");
    assert_eq!(certificate(&cloud, old).await, ("ACTIVE".to_owned(), false));
    // The workflow's failure is what alarms.
    let execution = json!({"executionArn": format!(
        "{}:{}-suspected",
        cloud.stack("CompromiseWorkflowArn").replace(":stateMachine:", ":execution:"),
        case["caseId"].as_str().expect("an id"),
    )});
    let started = Instant::now();
    loop {
        let now = cloud
            .aws_json("states", "AWSStepFunctions.DescribeExecution", &execution)
            .await;
        if now["status"] == "FAILED" {
            assert_eq!(now["error"], "Overdue", "{now}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{now}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Confirmed after all, it is the same case.
    let confirmed = opened(&cloud, &thing, "confirmed").await;
    assert_eq!(confirmed["caseId"], case["caseId"]);
    secured(&cloud, case["caseId"].as_str().expect("an id")).await;
    assert_eq!(certificate(&cloud, old).await.0, "REVOKED");
}

/// Plants a finding of an audit.
async fn plant(cloud: &Cloud, task: &str, check: &str, certificate: &Value) {
    let finding = json!({
        "taskId": task, "checkName": check,
        "nonCompliantResource": {
            "resourceType": "DEVICE_CERTIFICATE",
            "resourceIdentifier": {"deviceCertificateId": certificate},
        },
    });
    let ask = Ask::new("POST", "/_lamplighter/audit-findings").text(finding.to_string());
    cloud.aws("iot", &ask).await.expect(200);
}

/// Publishes an audit's summary, as Device Defender does.
async fn publish(cloud: &Cloud, task: &str, checks: &[&str]) {
    let details: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "checkName": check, "checkRunStatus": "COMPLETED_NON_COMPLIANT",
                "nonCompliantResourcesCount": 1, "totalResourcesCount": 9,
            })
        })
        .collect();
    let summary = json!({
        "accountId": "000000000000", "taskId": task, "taskStatus": "COMPLETED",
        "taskType": "ON_DEMAND_AUDIT_TASK", "failedChecksCount": 0, "canceledChecksCount": 0,
        "nonCompliantChecksCount": checks.len(), "compliantChecksCount": 0,
        "totalChecksCount": checks.len(), "taskStartTime": 1, "auditDetails": details,
    });
    let escaped = |text: &str| -> String {
        text.bytes()
            .fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
    };
    let body = format!(
        "Action=Publish&Version=2010-03-31&TopicArn={}&Message={}",
        escaped(cloud.stack("AuditTopicArn")),
        escaped(&summary.to_string())
    );
    let ask = Ask::new("POST", "/")
        .text(body)
        .header("content-type", "application/x-www-form-urlencoded");
    let reply = cloud.aws("sns", &ask).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

#[tokio::test]
async fn what_an_audit_finds_is_acted_upon() {
    let cloud = Cloud::open();
    let checks = [
        "DEVICE_CERTIFICATE_EXPIRING_CHECK",
        "DEVICE_CERTIFICATE_SHARED_CHECK",
        "REVOKED_DEVICE_CERTIFICATE_STILL_ACTIVE_CHECK",
    ];
    let task = unique("task");
    let mut things = Vec::new();
    for check in checks {
        let thing = unique("audited");
        let csr = Key::make(&thing).csr;
        let device = created(&cloud, &json!({"thingName": thing, "csr": csr})).await;
        plant(&cloud, &task, check, &device["certificateId"]).await;
        things.push((thing, device["certificateId"].clone()));
    }
    // One of no device of ours spoils nothing.
    plant(&cloud, &task, checks[0], &json!("e".repeat(64))).await;
    // AWS may deliver a notification twice.
    for _ in 0..2 {
        publish(&cloud, &task, &checks).await;
    }
    let phase = until(&cloud, &things[0].0, "ROTATION", "/phase/S").await;
    assert_eq!(phase, "REQUESTED");
    let record = row(&cloud, &format!("DEVICE#{}", things[0].0), "RECORD").await;
    assert!(record["caseId"].is_null(), "{record}");
    for ((thing, certificate_id), verdict) in things[1..].iter().zip(["suspected", "confirmed"]) {
        let id = until(&cloud, thing, "RECORD", "/caseId/S").await;
        let id = id.as_str().expect("an id");
        let found = case(&cloud, id).await;
        assert_eq!(found["verdict"], verdict, "{found}");
        assert_eq!(found["certificateId"], *certificate_id, "{found}");
        assert_eq!(found["reportedBy"], "Device Defender", "{found}");
        if verdict == "confirmed" {
            secured(&cloud, id).await;
        }
    }
}
