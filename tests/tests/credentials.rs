//! A key made here is handed out once.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::created;
use lamplighter_tests::device::{Key, public_key_of_certificate, public_key_of_private, unique};
use lamplighter_tests::inventory::row;
use serde_json::{Value, json};

#[tokio::test]
async fn once_and_then_no_more() {
    let cloud = Cloud::open();
    let thing = unique("once");
    let device = created(&cloud, &json!({"thingName": thing})).await;
    let reply = cloud.api(&Ask::credentials(&thing)).await;
    let credentials = reply.expect(200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(credentials["thingName"], thing.as_str());
    assert_eq!(credentials["certificateId"], device["certificateId"]);
    assert_eq!(credentials["certificatePem"], device["certificatePem"]);
    assert_eq!(
        public_key_of_private(credentials["privateKeyPem"].as_str().unwrap()),
        public_key_of_certificate(device["certificatePem"].as_str().unwrap()),
        "the key and the certificate belong together"
    );
    let again = cloud.api(&Ask::credentials(&thing)).await;
    let problem = again.expect(410);
    assert_eq!(problem["code"], "NotFound", "{problem}");
    assert!(!again.text.contains("PRIVATE KEY"));
    let late = Ask::credentials(&thing).header("idempotency-key", "late");
    cloud.api(&late).await.expect(410);
}

#[tokio::test]
async fn a_lost_reply_loses_no_key() {
    let cloud = Cloud::open();
    let thing = unique("replay");
    created(&cloud, &json!({"thingName": thing})).await;
    let ask = Ask::credentials(&thing).header("idempotency-key", "k-1");
    let first = cloud.api(&ask).await.expect(200);
    let again = cloud.api(&ask).await;
    assert_eq!(again.expect(200), first);
    assert_eq!(again.header("cache-control"), Some("no-store"));
    cloud
        .api(&Ask::credentials(&thing).header("idempotency-key", "k-2"))
        .await
        .expect(410);
    cloud.api(&Ask::credentials(&thing)).await.expect(410);
}

#[tokio::test]
async fn of_ten_at_once_one_gets_the_key() {
    let cloud = Cloud::open();
    let thing = unique("race");
    created(&cloud, &json!({"thingName": thing})).await;
    let ask = Ask::credentials(&thing);
    let replies = futures_util::future::join_all((0..10).map(|_| cloud.api(&ask))).await;
    let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    let mut expected = vec![200_u16];
    expected.extend([410; 9]);
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn there_is_no_key_of_a_device_that_kept_it() {
    let cloud = Cloud::open();
    let thing = unique("kept");
    created(
        &cloud,
        &json!({"thingName": thing, "csr": Key::make(&thing).csr}),
    )
    .await;
    for name in [thing, unique("nobody")] {
        let reply = cloud.api(&Ask::credentials(&name)).await;
        assert!((400..500).contains(&reply.status), "{}", reply.text);
        assert!(!reply.text.contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn a_key_object_that_is_missing_is_told_from_a_forbidden_one_and_costs_no_hand_out() {
    let cloud = Cloud::open();
    let thing = unique("missing");
    let device = created(&cloud, &json!({"thingName": thing})).await;
    let id = device["certificateId"].as_str().unwrap();
    let certificate = row(&cloud, &format!("DEVICE#{thing}"), &format!("CERT#{id}")).await;
    let bucket = cloud.stack("CustodyBucket");
    let object = certificate["keyObject"]["S"].as_str().unwrap();
    let deleted = cloud
        .aws("s3", &Ask::new("DELETE", format!("/{bucket}/{object}")))
        .await;
    let marker = deleted.header("x-amz-version-id").expect("a delete marker");

    let problem = cloud.api(&Ask::credentials(&thing)).await.expect(500);
    assert_eq!(problem["code"], "Bug", "{problem}");

    let undo = Ask::new("DELETE", format!("/{bucket}/{object}?versionId={marker}"));
    assert_eq!(cloud.aws("s3", &undo).await.status, 204);
    cloud.api(&Ask::credentials(&thing)).await.expect(200);
}

/// A device whose key is in custody: its name, its key object, and that
/// object's content.
async fn in_custody(cloud: &Cloud) -> (String, String, Value) {
    let thing = unique("swap");
    let device = created(cloud, &json!({"thingName": thing})).await;
    let id = device["certificateId"].as_str().unwrap();
    let certificate = row(cloud, &format!("DEVICE#{thing}"), &format!("CERT#{id}")).await;
    let object = certificate["keyObject"]["S"].as_str().unwrap().to_owned();
    let path = format!("/{}/{object}", cloud.stack("CustodyBucket"));
    let sealed = cloud.aws("s3", &Ask::new("GET", path.as_str())).await;
    (thing, path, sealed.expect(200))
}

#[tokio::test]
async fn a_key_in_another_devices_place_opens_for_neither() {
    let cloud = &Cloud::open();
    let ((thing, path, own), (_, _, foreign)) = (in_custody(cloud).await, in_custody(cloud).await);
    let put = async |content: &Value| {
        let ask = Ask::new("PUT", path.as_str()).text(content.to_string());
        assert_eq!(cloud.aws("s3", &ask).await.status, 200);
    };
    // What is taken from the other device's object.
    for taken in [
        &[
            "thingName",
            "publicKey",
            "csrPem",
            "dataKey",
            "nonce",
            "sealed",
        ][..],
        &["csrPem", "dataKey", "nonce", "sealed"],
        &["dataKey", "nonce", "sealed"],
        &["dataKey", "sealed"],
        &["nonce", "sealed"],
        &["dataKey"],
        &["sealed"],
        &["nonce"],
    ] {
        let mut mixed = own.clone();
        for field in taken {
            assert_ne!(own[field], foreign[field], "{field}");
            mixed[field] = foreign[field].clone();
        }
        put(&mixed).await;
        let reply = cloud.api(&Ask::credentials(&thing)).await;
        assert_eq!(reply.expect(500)["code"], "Bug", "{taken:?}");
        assert!(!reply.text.contains("PRIVATE KEY"), "{taken:?}");
    }
    put(&own).await;
    cloud.api(&Ask::credentials(&thing)).await.expect(200);
}

#[tokio::test]
async fn a_row_that_names_another_devices_key_opens_nothing() {
    let cloud = &Cloud::open();
    let (thing, _, own) = in_custody(cloud).await;
    let (_, path, foreign) = in_custody(cloud).await;
    let record = row(cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    let id = record["certificateId"]["S"].as_str().unwrap();
    let bucket = format!("/{}/", cloud.stack("CustodyBucket"));
    let object = path.strip_prefix(&bucket).expect("an object of the bucket");
    for public_key in [&own["publicKey"], &foreign["publicKey"]] {
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{thing}")}, "SK": {"S": format!("CERT#{id}")}},
            "UpdateExpression": "SET keyObject = :object, publicKey = :key",
            "ExpressionAttributeValues": {":object": {"S": object}, ":key": {"S": public_key}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
        let reply = cloud.api(&Ask::credentials(&thing)).await;
        assert_eq!(reply.expect(500)["code"], "Bug");
        assert!(!reply.text.contains("PRIVATE KEY"));
    }
}
