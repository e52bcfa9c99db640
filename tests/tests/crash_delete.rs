//! The function is stopped before and after every call that a deletion makes,
//! and loses every reply; delivered again, the deletion comes to the same end
//! (invariants 3 and 6). The calls are those of recorded runs: one of the
//! request, one of the workflow's call.

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver, invites_repetition, lease_over};
use lamplighter_tests::device::{trace, unique};
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::groups::until;
use lamplighter_tests::inventory::{Ended, describe, differing, row, state_of};
use lamplighter_tests::removal::{claimed_only, ended, step, stepped_to_the_end};
use serde_json::json;

const AT_ONCE: usize = 16;

/// Which of the two deliveries is disturbed.
#[derive(Clone, Copy, Debug)]
enum Part {
    Request,
    Workflow,
}

/// A device with something of every kind that a deletion removes.
async fn device(cloud: &Cloud) -> (String, String) {
    let thing = unique("fall");
    let answer = created(cloud, &json!({"thingName": thing})).await;
    for shadow in ["shadow", "shadow?name=lamp"] {
        let ask = Ask::new("POST", format!("/things/{thing}/{shadow}"))
            .text(json!({"state": {"desired": {"on": true}}}).to_string());
        cloud.aws("iotdata", &ask).await.expect(200);
    }
    // The stream brings its groups' document, by which a deletion has one call more.
    until(async || {
        let document = row(cloud, &format!("DEVICE#{thing}"), "DOCUMENT").await;
        (!document.is_null())
            .then_some(())
            .ok_or_else(|| format!("{thing} has no document"))
    })
    .await;
    (
        thing,
        answer["certificateId"].as_str().expect("an id").to_owned(),
    )
}

/// The first delivery under a trace, then as often as it takes.
async fn delete(cloud: &Cloud, part: Part, thing: &str, trace: &str) -> Result<(), String> {
    match part {
        Part::Request => {
            let first = cloud.api(&Ask::delete(thing).trace(trace)).await;
            if !matches!(first.status, 200 | 202) && !invites_repetition(&first) {
                return Err(format!(
                    "the caller is told {} {}",
                    first.status, first.text
                ));
            }
            let again = deliver(cloud, &Ask::delete(thing)).await;
            if !matches!(again.status, 200 | 202) {
                return Err(format!(
                    "delivered again, it is {} {}",
                    again.status, again.text
                ));
            }
            let answer = again.json();
            let id = answer["operationId"].as_str().ok_or("no operationId")?;
            match ended(cloud, id).await.as_str() {
                "DONE" => Ok(()),
                status => Err(format!("the operation ends {status}")),
            }
        }
        Part::Workflow => {
            let id = claimed_only(cloud, thing).await;
            step(cloud, thing, &id, Some(trace)).await;
            lease_over(cloud, thing).await;
            stepped_to_the_end(cloud, thing, &id).await;
            Ok(())
        }
    }
}

/// That thing and certificate are gone.
async fn gone(cloud: &Cloud, thing: &str, certificate: &str) -> Result<(), String> {
    for path in [
        format!("/things/{thing}"),
        format!("/certificates/{certificate}"),
    ] {
        if describe(cloud, &path).await.status != 404 {
            return Err(format!("{path} is still there"));
        }
    }
    Ok(())
}

async fn case(cloud: &Cloud, part: Part, point: &Point, mode: &str) -> Result<Ended, String> {
    let (thing, certificate) = device(cloud).await;
    let case = format!(
        "{part:?}: {mode} {} #{} of {thing}",
        point.operation, point.nth
    );
    let trace = trace();
    let fault = faults::strike(cloud, &trace, point, mode).await;
    let mut outcome = delete(cloud, part, &thing, &trace).await;
    if faults::fired(cloud, fault).await != 1 {
        outcome = Err("the point was not passed".to_owned());
    }
    if outcome.is_ok() {
        outcome = gone(cloud, &thing, &certificate).await;
    }
    match outcome {
        Ok(()) => Ok(Ended { case, thing }),
        Err(wrong) => Err(format!("{case}: {wrong}")),
    }
}

async fn matrix(part: Part) {
    let cloud = &Cloud::open();
    let (thing, certificate) = device(cloud).await;
    let recorded = trace();
    delete(cloud, part, &thing, &recorded)
        .await
        .expect("an undisturbed run");
    let points = faults::points(cloud, &recorded).await;
    assert!(
        points.len() >= 3,
        "too few calls for a deletion: {points:?}"
    );
    gone(cloud, &thing, &certificate).await.expect("a deletion");
    let undisturbed = state_of(cloud, &thing).await;
    assert_eq!(undisturbed["keyVersions"], 0);

    let cases = CRASHES
        .iter()
        .flat_map(|mode| points.iter().map(move |point| (*mode, point)));
    let outcomes: Vec<_> = stream::iter(cases)
        .map(|(mode, point)| case(cloud, part, point, mode))
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

#[tokio::test]
async fn the_request_survives_every_crash() {
    matrix(Part::Request).await;
}

#[tokio::test]
async fn the_workflows_call_survives_every_crash() {
    matrix(Part::Workflow).await;
}
