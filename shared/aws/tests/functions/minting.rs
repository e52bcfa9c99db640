//! Certificates found by their key: a device's own are taken up, those that
//! hang on another thing are left alone (invariants 1 and 5).

use std::sync::{Arc, Mutex};

use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use http::{Request, Response};
use lamplighter_aws::issuer::{self, Issuer, aws_iot::AwsIot};
use lamplighter_aws::things::Things;
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::{Csr, certificate_id};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use serde_json::{Value, json};

const THING: &str = "milan-0001";

fn arn(id: &str) -> String {
    format!("arn:aws:iot:eu-south-1:123456789012:cert/{id}")
}

/// Two certificates for one key: one that is there, and one that may be made.
struct Pair {
    csr: Csr,
    there: String,
    made: String,
}

impl Pair {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = || rcgen::CertificateParams::new([THING.to_owned()]).unwrap();
        let request = parameters().serialize_request(&key).unwrap();
        let certificate = |serial: u64| {
            let mut parameters = parameters();
            parameters.serial_number = Some(serial.into());
            parameters.self_signed(&key).unwrap().pem()
        };
        Self {
            csr: Csr::parse(&request.pem().unwrap()).unwrap(),
            there: certificate(1),
            made: certificate(2),
        }
    }
}

fn id_of(pem: &str) -> String {
    certificate_id(pem).unwrap().as_str().to_owned()
}

/// AWS IoT with the one certificate, its status, and what it hangs on.
fn answer(pair: &Pair, status: &str, things: &[&str], call: &str) -> Value {
    let there = id_of(&pair.there);
    let about = |pem: &str| {
        let id = id_of(pem);
        json!({"certificateId": id, "certificateArn": arn(&id), "certificatePem": pem})
    };
    match call {
        "GET /certificates" => json!({"certificates": [{
            "certificateId": there, "certificateArn": arn(&there), "status": status,
            "creationDate": 1_000_000,
        }]}),
        "GET /principals/things" => json!({ "things": things }),
        "GET /things/milan-0001/principals" if things.contains(&THING) => {
            json!({"principals": [arn(&there)]})
        }
        "GET /things/milan-0001/principals" => json!({"principals": []}),
        "POST /certificates" => about(&pair.made),
        call if call == format!("GET /certificates/{there}") => {
            json!({"certificateDescription": about(&pair.there)})
        }
        other => panic!("no call of this: {other}"),
    }
}

async fn check(status: &'static str, things: &'static [&'static str], ours: bool) {
    let pair = Arc::new(Pair::new());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (inside, log) = (pair.clone(), calls.clone());
    let client = infallible_client_fn(move |request: Request<SdkBody>| {
        let call = format!("{} {}", request.method(), request.uri().path());
        log.lock().unwrap().push(call.clone());
        let body = answer(&inside, status, things, &call).to_string();
        Response::new(SdkBody::from(body))
    });
    let sdk = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::from_static("eu-south-1"))
        .credentials_provider(aws_sdk_iot::config::SharedCredentialsProvider::new(
            aws_sdk_iot::config::Credentials::for_tests(),
        ))
        .http_client(client)
        .build();
    let things_api = Things::new(&sdk);
    let iot = things_api.iot.clone();
    let thing = ThingName::parse(THING).unwrap();
    let mint = Mint::intended(pair.csr.public_key().clone(), Moment(1000));

    let found = issuer::made(&iot, &thing, &mint).await.unwrap();
    assert_eq!(found.len(), usize::from(ours), "{status} {things:?}");

    let issuer = AwsIot { things: things_api };
    let minted = issuer.issue(&thing, &pair.csr, &mint, true).await.unwrap();
    let expected = if ours { &pair.there } else { &pair.made };
    assert_eq!(minted.certificate_id.as_str(), id_of(expected));
    let calls = calls.lock().unwrap();
    let made = calls.iter().any(|call| call == "POST /certificates");
    assert_eq!(made, !ours, "{calls:?}");
    let touched = |call: &String| call.starts_with("PUT") || call.starts_with("DELETE");
    assert!(!calls.iter().any(touched), "{calls:?}");
}

#[tokio::test]
async fn a_certificate_that_hangs_on_another_thing_is_not_this_ones_whatever_its_key() {
    check("ACTIVE", &[], true).await;
    check("ACTIVE", &[THING], true).await;
    check("ACTIVE", &["turin-7"], false).await;
    check("ACTIVE", &[THING, "turin-7"], false).await;
    check("REVOKED", &[], false).await;
}
