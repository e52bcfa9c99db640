//! A renewal purges one key: every version of it, in both buckets.

use crate::cloud::{Cloud, Fate, World};

const KEY: &str = "keys/milan-0001/op-1.json";
/// Of the same device, and of another.
const OTHERS: [&str; 2] = ["keys/milan-0001/op-2.json", "keys/milan-0002/op-1.json"];

fn cloud() -> Cloud {
    let mut world = World::default();
    for bucket in ["custody", "replica"] {
        for key in [KEY, OTHERS[0], OTHERS[1]] {
            for version in ["v1", "v2", "v3"] {
                let version = (bucket.to_owned(), key.to_owned(), version.to_owned());
                world.versions.insert(version);
            }
        }
    }
    Cloud::new(world)
}

/// How many versions of the key are left in each bucket; all others are.
fn left(cloud: &Cloud) -> [usize; 2] {
    let world = cloud.world();
    let others = world.versions.iter().filter(|(_, key, _)| key != KEY);
    assert_eq!(others.count(), 12);
    ["custody", "replica"].map(|bucket| {
        let of_it = world
            .versions
            .iter()
            .filter(|(b, key, _)| b == bucket && key == KEY);
        of_it.count()
    })
}

#[tokio::test]
async fn every_version_of_one_key_goes_in_both_buckets() {
    for (replicated, expected) in [(true, [0, 0]), (false, [0, 3])] {
        let cloud = cloud();
        cloud.safe(replicated).purge(KEY).await.unwrap();
        assert_eq!(left(&cloud), expected, "{replicated}");
        let before = cloud.world().calls.len();
        cloud.safe(replicated).purge(KEY).await.unwrap();
        let again = cloud.world().calls[before..].to_vec();
        assert!(
            again.iter().all(|call| call == "ListObjectVersions"),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn a_version_that_stays_is_no_success() {
    let cloud = cloud();
    let calls = {
        let probe = self::cloud();
        probe.safe(true).purge(KEY).await.unwrap();
        probe.world().calls.len()
    };
    for number in 0..calls {
        for fate in [Fate::Refused, Fate::Lost] {
            cloud.world().calls.clear();
            cloud.world().fate = Some((number, fate));
            let struck = cloud.safe(true).purge(KEY).await;
            cloud.world().fate = None;
            // What is gone already takes fewer calls, so that some are not struck.
            if let Err(failure) = struck {
                assert!(failure.kind.retryable(), "{failure:?}");
                cloud.safe(true).purge(KEY).await.unwrap();
            }
            assert_eq!(left(&cloud), [0, 0], "call {number}");
        }
    }
}
