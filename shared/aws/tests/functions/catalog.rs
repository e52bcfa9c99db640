//! A catalog cut off anywhere is taken up by applying it again.

use lamplighter_aws::catalog::{Applied, Catalogs, Status};
use lamplighter_aws::claims::Claims;
use lamplighter_aws::organisation::Organisation;
use lamplighter_aws::things::Things;
use lamplighter_aws::updates::Updates;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Asked, Catalog};
use lamplighter_domain::names::GroupName;
use lamplighter_domain::time::Moment;
use serde_json::{Value, json};

use crate::cloud::{Cloud, group_arn};

fn catalog() -> Catalog {
    let event: Value =
        serde_json::from_str(include_str!("../../../../events/apply-catalog/http.json")).unwrap();
    let default_group = GroupName::parse("lamplighter-default").unwrap();
    Catalog::parse(event["body"].as_str().unwrap().as_bytes(), &default_group).unwrap()
}

fn catalogs(cloud: &Cloud) -> Catalogs {
    Catalogs {
        organisation: Organisation {
            iot: aws_sdk_iot::Client::new(&cloud.sdk()),
        },
        table: cloud.table(),
        updates: Updates {
            claims: Claims {
                table: cloud.table(),
            },
            things: Things {
                iot: aws_sdk_iot::Client::new(&cloud.sdk()),
            },
            default_group: GroupName::parse("lamplighter-default").unwrap(),
            group_arn_prefix: group_arn(""),
        },
    }
}

async fn apply(cloud: &Cloud) -> Result<Applied, Failure> {
    let far = Moment(u64::MAX / 2);
    catalogs(cloud)
        .apply(&catalog(), Asked::default(), far)
        .await
}

/// Everything there is, for comparison.
fn state(cloud: &Cloud) -> Value {
    let world = cloud.world();
    let table: Vec<_> = world.table.values().collect();
    json!([world.iot, world.attached, table])
}

#[tokio::test]
async fn a_repeat_changes_nothing() {
    let cloud = Cloud::default();
    let applied = apply(&cloud).await.unwrap();
    assert_eq!(
        (applied.changes.len(), applied.unchanged.len()),
        (8, 0),
        "{applied:?}"
    );
    let (writes, before) = (cloud.writes(), state(&cloud));
    // Six of the eight are on record as the catalog's.
    assert_eq!(writes, 14);
    let again = apply(&cloud).await.unwrap();
    assert_eq!(
        (again.changes.len(), again.unchanged.len()),
        (0, 8),
        "{again:?}"
    );
    assert!(again.refused.is_empty());
    assert_eq!((cloud.writes(), state(&cloud)), (writes, before));
}

#[tokio::test]
async fn cut_off_anywhere_it_is_taken_up_again() {
    let undisturbed = Cloud::default();
    apply(&undisturbed).await.unwrap();
    for writes in 0..undisturbed.writes() {
        let cloud = Cloud::default();
        cloud.world().writes_left = Some(writes);
        assert!(apply(&cloud).await.is_err(), "cut off after {writes}");
        cloud.world().writes_left = None;
        apply(&cloud).await.unwrap();
        assert_eq!(state(&cloud), state(&undisturbed), "cut off after {writes}");
    }
}

#[tokio::test]
async fn a_plan_and_a_refusal_change_nothing() {
    let cloud = Cloud::default();
    let planned = catalogs(&cloud)
        .plan(&catalog(), Asked::default())
        .await
        .unwrap();
    assert_eq!((planned.changes.len(), cloud.writes()), (8, 0));
    let theirs = json!({ "billingGroupProperties": { "billingGroupDescription": "theirs" } });
    cloud
        .world()
        .iot
        .insert("billing-groups/billing-milan".to_owned(), theirs);
    let refused = apply(&cloud).await.unwrap();
    assert_eq!(cloud.writes(), 0);
    assert_eq!(refused.status, Status::Refused);
    let failure = refused.refusal().unwrap();
    assert_eq!(failure.http_status(), 409);
    assert!(
        failure.reason.contains("billing-milan") && failure.reason.contains("description"),
        "{}",
        failure.reason
    );
}
