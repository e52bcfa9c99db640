//! A creation that can go no further undoes what it did, and nothing else.

use lamplighter_tests::authority::ready;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{deliver, lease_over};
use lamplighter_tests::device::{Key, trace, unique};
use lamplighter_tests::faults::{Point, fired, strike};
use lamplighter_tests::inventory::{Inventory, describe, iot, principals, state_of};
use serde_json::{Value, json};

/// Delivers a creation whose function dies after one call; it is not repeated.
async fn dies_after(cloud: &Cloud, body: &Value, operation: &str) {
    let trace = trace();
    let point = Point {
        operation: operation.to_owned(),
        nth: 1,
    };
    let fault = strike(cloud, &trace, &point, "kill-after").await;
    cloud.api(&Ask::create(body).trace(&trace)).await;
    assert_eq!(fired(cloud, fault).await, 1, "{operation} was not reached");
    lease_over(cloud, body["thingName"].as_str().expect("a name")).await;
}

/// The creation ends refused, and its operation is all that is left of it.
async fn check_undone(cloud: &Cloud, body: &Value, status: u16, field: &str) {
    let problem = deliver(cloud, &Ask::create(body)).await.expect(status);
    assert_eq!(problem["field"], field, "{problem}");
    let state = state_of(cloud, body["thingName"].as_str().unwrap()).await;
    assert_eq!(state["registry"], json!({}), "{state}");
    assert_eq!(state["keyVersions"], 0, "{state}");
    assert_eq!(state["keys"], 0, "{state}");
    assert_eq!(
        state["operations"],
        json!(["CREATE COMPENSATED"]),
        "{state}"
    );
}

/// One test, since the second half counts all certificates of the account.
#[tokio::test]
async fn an_operation_undoes_all_that_it_did_and_nothing_else() {
    let cloud = Cloud::open();
    ready(&cloud).await;
    what_somebody_else_made_meanwhile_is_left_alone(&cloud).await;
    from_whichever_step_on_everything_goes(&cloud).await;
}

async fn what_somebody_else_made_meanwhile_is_left_alone(cloud: &Cloud) {
    let thing = unique("meanwhile");
    let body = json!({"thingName": thing, "csr": Key::make(&thing).csr});
    dies_after(cloud, &body, "dynamodb:TransactWriteItems").await;

    // Somebody else makes another thing of the name, with a certificate.
    let path = format!("/things/{thing}");
    let attributes = json!({"attributePayload": {"attributes": {"owner": "somebody-else"}}});
    iot(cloud, "POST", &path, &attributes).await.expect(200);
    let csr = json!({"certificateSigningRequest": Key::make(&thing).csr});
    let made = iot(cloud, "POST", "/certificates?setAsActive=true", &csr)
        .await
        .expect(200);
    let arn = made["certificateArn"].as_str().unwrap();
    let attach = Ask::new("PUT", format!("{path}/principals")).header("x-amzn-principal", arn);
    cloud.aws("iot", &attach).await.expect(200);

    check_undone(cloud, &body, 409, "thingName").await;
    let described = describe(cloud, &path).await.expect(200);
    assert_eq!(described["attributes"]["owner"], "somebody-else");
    assert_eq!(principals(cloud, &thing).await, [arn]);
}

async fn from_whichever_step_on_everything_goes(cloud: &Cloud) {
    for (custody, issuer, operation) in [
        ("device", "aws-iot", "iot:CreateThing"),
        ("vault", "aws-iot", "s3:PutObject"),
        ("vault", "aws-iot", "iot:CreateCertificateFromCsr"),
        ("vault", "aws-iot", "iot:AttachThingPrincipal"),
        ("device", "kms-ca", "kms:Sign"),
        ("vault", "kms-ca", "iot:RegisterCertificateWithoutCA"),
        ("vault", "kms-ca", "iot:AttachThingPrincipal"),
    ] {
        let (thing, group) = (unique("undone"), unique("group"));
        let policy = json!({"policyDocument": json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}).to_string()});
        iot(cloud, "POST", &format!("/policies/{group}"), &policy)
            .await
            .expect(200);
        let made = iot(cloud, "POST", &format!("/thing-groups/{group}"), &json!({}))
            .await
            .expect(200);
        let target = json!({"target": made["thingGroupArn"]});
        iot(cloud, "PUT", &format!("/target-policies/{group}"), &target)
            .await
            .expect(200);

        let mut body = json!({"thingName": thing, "groups": [group], "issuer": issuer});
        if custody == "device" {
            body["csr"] = Key::make(&thing).csr.into();
        }
        let before = Inventory::take(cloud).await;
        dies_after(cloud, &body, operation).await;
        // Without its policy the group is one that a device is refused for.
        iot(cloud, "POST", &format!("/target-policies/{group}"), &target)
            .await
            .expect(200);
        check_undone(cloud, &body, 400, "groups").await;
        assert_eq!(
            describe(cloud, &format!("/things/{thing}")).await.status,
            404
        );
        let after = Inventory::take(cloud).await;
        assert_eq!(
            after.certificates, before.certificates,
            "{issuer}, after {operation}"
        );
    }
}
