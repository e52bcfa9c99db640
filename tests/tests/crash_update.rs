//! The function is stopped before and after every call of an update, and loses
//! every reply; delivered again, the update comes to the same end (invariants 3
//! and 6), and at no moment is the thing in no group that bears its policy.

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver, lease_over};
use lamplighter_tests::device::{trace, unique};
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::inventory::{Ended, differing, state_of};
use lamplighter_tests::organisation::{Organisation, groups_of};
use serde_json::json;

const AT_ONCE: usize = 8;

/// Everything that an update can change, within a hierarchy and across.
fn update(org: &Organisation, thing: &str) -> Ask {
    let body = json!({
        "attributes": {"city": "turin"}, "billingGroup": org.of("other"),
        "groups": [org.of("brera"), org.of("turin")],
    });
    Ask::new("PATCH", format!("/devices/{thing}")).text(body.to_string())
}

async fn case(
    cloud: &Cloud,
    org: &Organisation,
    point: &Point,
    mode: &str,
) -> Result<Ended, String> {
    let thing = unique("shift");
    created(cloud, &org.light(&thing)).await;
    let case = format!("{mode} {} #{} of {thing}", point.operation, point.nth);
    let trace = trace();
    let fault = faults::strike(cloud, &trace, point, mode).await;
    cloud.api(&update(org, &thing).trace(&trace)).await;
    if faults::fired(cloud, fault).await != 1 {
        return Err(format!("{case}: the point was not passed"));
    }
    if groups_of(cloud, &thing)
        .await
        .iter()
        .all(|group| *group == org.of("idle"))
    {
        return Err(format!("{case}: the thing is in no group with a policy"));
    }
    lease_over(cloud, &thing).await;
    let again = deliver(cloud, &update(org, &thing)).await;
    if again.status != 200 {
        return Err(format!(
            "{case}: delivered again, it is {} {}",
            again.status, again.text
        ));
    }
    Ok(Ended { case, thing })
}

#[tokio::test]
async fn an_update_survives_every_crash() {
    let cloud = &Cloud::open();
    let org = &Organisation::applied(cloud).await;
    let (thing, recorded) = (unique("shift"), trace());
    created(cloud, &org.light(&thing)).await;
    cloud
        .api(&update(org, &thing).trace(&recorded))
        .await
        .expect(200);
    let points = faults::points(cloud, &recorded).await;
    assert!(points.len() > 10, "too few calls for an update: {points:?}");
    let undisturbed = state_of(cloud, &thing).await;
    let cases = CRASHES.iter().flat_map(|mode| {
        points
            .iter()
            .map(move |point| case(cloud, org, point, mode))
    });
    let outcomes: Vec<_> = stream::iter(cases)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert_eq!(outcomes.len(), points.len() * CRASHES.len());
    let (ended, wrong): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let mut wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    let ended = ended.into_iter().filter_map(Result::ok);
    wrong.extend(differing(cloud, ended, &undisturbed).await);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
