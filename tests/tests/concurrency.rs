//! Invariant 1 under contention: one device, one certificate. One test alone,
//! because it compares all that the account holds.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{deliver, invites_repetition};
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::inventory::{Inventory, principals, versions};
use serde_json::json;

const CALLERS: usize = 50;

#[tokio::test]
async fn fifty_creations_of_one_device_make_one() {
    for vault in [false, true] {
        let cloud = Cloud::open();
        let thing = unique("fifty");
        let mut body = json!({"thingName": thing});
        if !vault {
            body["csr"] = Key::make(&thing).csr.into();
        }
        let ask = Ask::create(&body);
        let before = Inventory::take(&cloud).await;

        let replies = join_all((0..CALLERS).map(|_| cloud.once(&ask))).await;
        let mut fresh = 0;
        let mut answers = BTreeSet::new();
        for reply in replies {
            let last = if invites_repetition(&reply) {
                assert!(
                    matches!(reply.status, 429 | 503),
                    "{} {}",
                    reply.status,
                    reply.text
                );
                assert!(reply.header("retry-after").is_some(), "{}", reply.text);
                deliver(&cloud, &ask).await
            } else {
                reply
            };
            assert!(
                matches!(last.status, 200 | 201),
                "{} {}",
                last.status,
                last.text
            );
            fresh += usize::from(last.status == 201);
            answers.insert(last.json().to_string());
        }
        assert_eq!(
            answers.len(),
            1,
            "every caller gets the same answer: {answers:?}"
        );
        assert!(fresh <= 1, "{fresh} callers were told that they made it");

        let after = Inventory::take(&cloud).await;
        assert_eq!(
            after.things.difference(&before.things).collect::<Vec<_>>(),
            [&thing]
        );
        let certificates: Vec<_> = after
            .certificates
            .difference(&before.certificates)
            .collect();
        assert_eq!(certificates.len(), 1);
        let attached = principals(&cloud, &thing).await;
        assert_eq!(attached.len(), 1);
        assert!(attached[0].ends_with(certificates[0].as_str()));
        assert_eq!(
            versions(&cloud, &format!("keys/{thing}/")).await.len(),
            usize::from(vault)
        );
    }
}
