//! Our own authority through the real clients: KMS signs, the registry keeps,
//! AWS IoT registers; each may fail or forget to answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use lamplighter_aws::authorities::Authorities;
use lamplighter_aws::issuer::Issuer;
use lamplighter_aws::issuer::kms_ca::KmsCa;
use lamplighter_aws::table::Table;
use lamplighter_domain::authority::{InitRequest, Lifetime, RotationRequest, signer_of};
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::{Csr, certificate_id};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde_json::{Value, json};

const NOW: Moment = Moment(1_772_360_101_480);
const CSR: &str = include_str!("../../../domain/fixtures/rsa-2048.csr.pem");

struct World {
    /// The keys that KMS holds, by ARN.
    keys: BTreeMap<&'static str, EcdsaKeyPair>,
    /// Signatures come from this key, whichever is asked for.
    signs_instead: Option<&'static str>,
    /// The registry, by both keys.
    table: BTreeMap<String, Value>,
    /// The state of each registered certificate.
    certificates: BTreeMap<String, &'static str>,
    /// The next registration takes effect, and its answer is lost.
    lose_answer: bool,
    /// The next transaction finds that somebody was faster.
    rival: bool,
}

#[derive(Clone)]
struct Cloud(Arc<Mutex<World>>);

impl Cloud {
    fn new() -> Self {
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self(Arc::new(Mutex::new(World {
            keys: ["key-a", "key-b", "key-of-another"]
                .map(|arn| (arn, key()))
                .into(),
            signs_instead: None,
            table: BTreeMap::new(),
            certificates: BTreeMap::new(),
            lose_answer: false,
            rival: false,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn sdk(&self) -> aws_config::SdkConfig {
        let cloud = self.clone();
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static("eu-south-1"))
            .credentials_provider(aws_sdk_iot::config::SharedCredentialsProvider::new(
                aws_sdk_iot::config::Credentials::for_tests(),
            ))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .http_client(infallible_client_fn(move |request| {
                cloud.world().answer(&request)
            }))
            .build()
    }

    fn table(&self) -> Table {
        Table {
            client: aws_sdk_dynamodb::Client::new(&self.sdk()),
            name: "registry".to_owned(),
        }
    }

    fn authorities(&self) -> Authorities {
        Authorities {
            table: self.table(),
            kms: aws_sdk_kms::Client::new(&self.sdk()),
            keys: ["key-a", "key-b"].map(str::to_owned).into(),
        }
    }

    fn issuer(&self) -> KmsCa {
        KmsCa::new(&self.sdk(), self.table(), Lifetime::parse("365d").unwrap())
    }

    async fn init(&self) -> Result<bool, Failure> {
        let request = InitRequest::parse(b"")?;
        let settled = self.authorities().init(&request, NOW).await;
        settled.map(|settled| settled.fresh)
    }
}

impl World {
    fn answer(&mut self, request: &Request<SdkBody>) -> Response<SdkBody> {
        let bytes = request.body().bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let target = request
            .headers()
            .get("x-amz-target")
            .and_then(|t| t.to_str().ok());
        let path = request.uri().path();
        match target.and_then(|target| target.rsplit('.').next()) {
            Some("GetPublicKey") => self.public_key(&body),
            Some("Sign") => self.sign(&body),
            Some("GetItem") => {
                let found = self.table.get(&key(&body["Key"]));
                ok(&found.map_or_else(|| json!({}), |item| json!({ "Item": item })))
            }
            Some("TransactWriteItems") => self.transact(&body),
            None if path == "/certificate/register-no-ca" => self.register(&body),
            None => self.describe(path.trim_start_matches("/certificates/")),
            other => panic!("no such operation: {other:?}"),
        }
    }

    fn public_key(&self, body: &Value) -> Response<SdkBody> {
        let arn = body["KeyId"].as_str().unwrap();
        let der: PublicKeyX509Der<'_> = self.keys[arn].public_key().as_der().unwrap();
        ok(&json!({ "PublicKey": STANDARD.encode(der.as_ref()) }))
    }

    fn sign(&self, body: &Value) -> Response<SdkBody> {
        assert_eq!(body["MessageType"], "DIGEST");
        assert_eq!(body["SigningAlgorithm"], "ECDSA_SHA_256");
        let digest = STANDARD.decode(body["Message"].as_str().unwrap()).unwrap();
        let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
        let key = &self.keys[self
            .signs_instead
            .unwrap_or(body["KeyId"].as_str().unwrap())];
        let signature = key.sign_digest(&digest).unwrap();
        ok(&json!({ "Signature": STANDARD.encode(signature.as_ref()) }))
    }

    fn transact(&mut self, body: &Value) -> Response<SdkBody> {
        if self.rival {
            let reasons = json!([{ "Code": "None" }, { "Code": "ConditionalCheckFailed" }]);
            let cancelled = json!({
                "__type": "TransactionCanceledException", "CancellationReasons": reasons,
            });
            return respond(400, cancelled.to_string());
        }
        for item in body["TransactItems"].as_array().unwrap() {
            let item = &item["Put"]["Item"];
            self.table.insert(key(item), item.clone());
        }
        ok(&json!({}))
    }

    fn register(&mut self, body: &Value) -> Response<SdkBody> {
        assert_eq!(body["status"], "ACTIVE");
        let id = certificate_id(body["certificatePem"].as_str().unwrap()).unwrap();
        let id = id.as_str().to_owned();
        if self.certificates.contains_key(&id) {
            return error(409, "ResourceAlreadyExistsException");
        }
        self.certificates.insert(id.clone(), "ACTIVE");
        if std::mem::take(&mut self.lose_answer) {
            return error(500, "InternalFailureException");
        }
        ok(&json!({ "certificateId": id, "certificateArn": arn(&id) }))
    }

    fn describe(&self, id: &str) -> Response<SdkBody> {
        let Some(status) = self.certificates.get(id) else {
            return error(404, "ResourceNotFoundException");
        };
        ok(&json!({ "certificateDescription": {
            "certificateId": id, "certificateArn": arn(id), "status": status,
        }}))
    }
}

fn arn(id: &str) -> String {
    format!("arn:aws:iot:eu-south-1:123456789012:cert/{id}")
}

fn key(item: &Value) -> String {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    format!("{} / {}", part("PK"), part("SK"))
}

fn ok(body: &Value) -> Response<SdkBody> {
    respond(200, body.to_string())
}

fn error(status: u16, code: &str) -> Response<SdkBody> {
    respond(
        status,
        json!({ "__type": code, "message": "as told" }).to_string(),
    )
}

fn respond(status: u16, body: impl Into<SdkBody>) -> Response<SdkBody> {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

fn light() -> (ThingName, Csr) {
    (
        ThingName::parse("milan-0001").unwrap(),
        Csr::parse(CSR).unwrap(),
    )
}

async fn prepared(issuer: &KmsCa) -> Result<Mint, Failure> {
    let (thing, csr) = light();
    issuer.prepare(&thing, &csr, NOW).await
}

#[tokio::test]
async fn signed_first_it_registers_once_however_often_it_is_asked() {
    let cloud = Cloud::new();
    assert!(cloud.init().await.unwrap());
    let (issuer, (thing, csr)) = (cloud.issuer(), light());
    let mint = prepared(&issuer).await.unwrap();
    assert!(mint.certificate_id.is_some() && mint.certificate_pem.is_some());
    assert!(
        cloud.world().certificates.is_empty(),
        "signed is not registered"
    );

    cloud.world().lose_answer = true;
    let lost = issuer.issue(&thing, &csr, &mint, false).await.unwrap_err();
    assert!(lost.kind.retryable(), "{lost:?}");
    let minted = issuer.issue(&thing, &csr, &mint, true).await.unwrap();
    let id = mint.certificate_id.as_ref().unwrap();
    assert_eq!(
        (&minted.certificate_id, minted.certificate_arn.as_str()),
        (id, arn(id.as_str()).as_str())
    );
    assert_eq!(
        issuer.issue(&thing, &csr, &mint, true).await.unwrap(),
        minted
    );
    assert_eq!(cloud.world().certificates.len(), 1);

    cloud.world().certificates.insert(id.to_string(), "REVOKED");
    let revoked = issuer.issue(&thing, &csr, &mint, true).await.unwrap_err();
    assert_eq!(
        revoked.kind,
        Kind::Conflict,
        "what was revoked is not taken up"
    );
}

#[tokio::test]
async fn a_signature_of_another_key_is_found_out() {
    let cloud = Cloud::new();
    cloud.init().await.unwrap();
    cloud.world().signs_instead = Some("key-of-another");
    assert_eq!(prepared(&cloud.issuer()).await.unwrap_err().kind, Kind::Bug);
    assert!(cloud.world().certificates.is_empty());
}

#[tokio::test]
async fn without_an_authority_nothing_is_issued() {
    let failure = prepared(&Cloud::new().issuer()).await.unwrap_err();
    assert_eq!(
        (failure.http_status(), failure.field.as_deref()),
        (422, Some("issuer"))
    );
}

#[tokio::test]
async fn an_authority_is_made_once_and_followed_once() {
    let cloud = Cloud::new();
    assert!(cloud.init().await.unwrap());
    assert!(
        !cloud.init().await.unwrap(),
        "a second time it is only told"
    );
    let issuer = cloud.issuer();
    let before = prepared(&issuer).await.unwrap().certificate_pem.unwrap();

    let authorities = cloud.authorities();
    let first = authorities.standing().await.unwrap().unwrap().active;
    let body = json!({ "replaces": first.authority_id.as_str() }).to_string();
    let rotation = RotationRequest::parse(body.as_bytes()).unwrap();
    assert!(authorities.rotate(&rotation, NOW).await.unwrap().fresh);
    let again = authorities.rotate(&rotation, NOW).await.unwrap();
    assert!(!again.fresh, "a second time it is only told");
    assert_eq!(again.standing.earlier, std::slice::from_ref(&first));
    let second = again.standing.active;
    assert_eq!(
        [first.key_arn.as_str(), second.key_arn.as_str()],
        ["key-a", "key-b"]
    );

    let after = prepared(&issuer).await.unwrap().certificate_pem.unwrap();
    assert_eq!(
        signer_of(&after).as_ref(),
        Some(&second.authority_id),
        "the newest signs"
    );
    for (pem, authority) in [(&before, &first), (&after, &second)] {
        let signer = issuer.certificate_of_signer(pem).await.unwrap();
        assert_eq!(signer, authority.certificate_pem);
    }
}

#[tokio::test]
async fn who_loses_the_race_makes_no_authority() {
    let cloud = Cloud::new();
    cloud.world().rival = true;
    let lost = cloud.init().await.unwrap_err();
    assert!(lost.kind.retryable(), "{lost:?}");
    assert!(cloud.world().table.is_empty());
}
