//! A public key belongs to one device (invariant 1): another that comes with it
//! is refused, and what the first has is not touched.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver};
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::inventory::{describe, state_of};
use lamplighter_tests::removal::deleted;
use lamplighter_tests::rotation::{Event, Light, delivered};
use serde_json::json;

#[tokio::test]
async fn a_second_device_with_the_same_key_is_refused_and_the_first_untouched() {
    let cloud = Cloud::open();
    let (first, second) = (unique("first"), unique("second"));
    let key = Key::make(&first);
    let body = |thing: &str| json!({"thingName": thing, "csr": key.csr});
    created(&cloud, &body(&first)).await;
    let before = state_of(&cloud, &first).await;
    assert_eq!(before["keys"], 1, "{before}");

    let refused = deliver(&cloud, &Ask::create(&body(&second))).await;
    let problem = refused.expect(409);
    assert_eq!(problem["code"], "Conflict", "{problem}");
    assert_eq!(problem["field"], "csr", "{problem}");
    let path = format!("/things/{second}");
    assert_eq!(describe(&cloud, &path).await.status, 404);
    let left = state_of(&cloud, &second).await;
    assert_eq!(left["operations"], json!([]), "{left}");
    assert_eq!(state_of(&cloud, &first).await, before);

    // With the first device its key is free.
    deleted(&cloud, &first).await;
    created(&cloud, &body(&second)).await;
}

#[tokio::test]
async fn the_keys_of_a_refused_creation_are_free_again() {
    let cloud = Cloud::open();
    let thing = unique("refused");
    let mut body = json!({"thingName": thing, "csr": Key::make(&thing).csr});
    body["groups"] = json!([unique("none")]);
    deliver(&cloud, &Ask::create(&body)).await.expect(422);
    body["thingName"] = unique("other").into();
    body["groups"] = json!([]);
    created(&cloud, &body).await;
}

#[tokio::test]
async fn a_rotation_takes_no_key_that_is_in_use() {
    let cloud = Cloud::open();
    let other = unique("owner");
    let theirs = Key::make(&other);
    created(&cloud, &json!({"thingName": other, "csr": theirs.csr})).await;
    let before = state_of(&cloud, &other).await;

    let mut light = Light::new(&cloud).await;
    let step = light.event(&cloud, Event::Step).await;
    delivered(&cloud, &step, None).await;
    light.key = theirs;
    let request = light.event(&cloud, Event::Request).await;
    delivered(&cloud, &request, None).await;
    let row = light.row(&cloud).await;
    assert!(row["wish"].is_null(), "{row}");

    light.key = Key::make(&light.thing);
    let request = light.event(&cloud, Event::Request).await;
    delivered(&cloud, &request, None).await;
    delivered(&cloud, &step, None).await;
    assert_eq!(light.phase(&cloud).await, "ISSUED");
    let state = state_of(&cloud, &light.thing).await;
    assert_eq!(state["keys"], 2, "{state}");
    assert_eq!(state_of(&cloud, &other).await, before);
}
