//! Certificates made here, read by others: by x509-parser and by openssl.

use std::path::PathBuf;
use std::process::Command;

use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PublicKeyData, SigningKey,
};
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use super::*;
use crate::csr::{Csr, PublicKeyId, certificate_id, not_after};
use crate::names::ThingName;

const NOW: Moment = Moment(1_772_360_101_480);
const KEYS: [&str; 2] = ["key-a", "key-b"];

fn keys() -> Vec<String> {
    KEYS.map(str::to_owned).to_vec()
}

/// What KMS is in AWS: holds a key, gives its public half, signs.
struct Kms(KeyPair);

impl Kms {
    fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    fn sign(&self, unsigned: &Unsigned) -> Result<Signed, Failure> {
        unsigned.finish(&self.0.sign(unsigned.to_be_signed()).unwrap())
    }

    fn authority(&self, plan: AuthorityPlan, serial: u8) -> Authority {
        let unsigned =
            authority_certificate(&plan, &self.0.subject_public_key_info(), number(serial));
        plan.made(self.sign(&unsigned.unwrap()).unwrap()).unwrap()
    }
}

fn number(byte: u8) -> Serial {
    Serial::from_random([byte; 16]).unwrap()
}

fn init(years: u32) -> AuthorityPlan {
    let request = InitRequest::parse(json!({"years": years}).to_string().as_bytes()).unwrap();
    request.decide(None, &keys(), NOW).unwrap().unwrap()
}

fn thing() -> ThingName {
    ThingName::parse("milan_navigli:0001").unwrap()
}

/// A signing request that asks for more than it may have.
fn csr(algorithm: &'static rcgen::SignatureAlgorithm) -> Csr {
    let mut params = CertificateParams::new(vec!["else.example".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "somebody else");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate_for(algorithm).unwrap();
    Csr::parse(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap()
}

fn device(kms: &Kms, authority: &Authority, csr: &Csr, serial: Serial, lifetime: &str) -> Signed {
    let validity = authority
        .validity(NOW, Lifetime::parse(lifetime).unwrap())
        .unwrap();
    let unsigned = device_certificate(authority, &thing(), csr, validity, serial).unwrap();
    kms.sign(&unsigned).unwrap()
}

/// Looks at a certificate as x509-parser reads it.
fn look<T>(pem: &str, at: impl Fn(&x509_parser::certificate::X509Certificate<'_>) -> T) -> T {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
    at(&pem.parse_x509().unwrap())
}

#[test]
fn a_devices_certificate_says_what_we_say_and_nothing_of_the_request() {
    let kms = Kms::new();
    let authority = kms.authority(init(10), 1);
    let csr = csr(&PKCS_ECDSA_P384_SHA384);
    let signed = device(&kms, &authority, &csr, number(2), "365d");
    let pem = &signed.certificate_pem;
    assert_eq!(certificate_id(pem).as_ref(), Some(&signed.certificate_id));
    assert_eq!(
        PublicKeyId::of_certificate(pem).as_ref(),
        Some(csr.public_key())
    );
    assert_eq!(signer_of(pem).as_ref(), Some(&authority.authority_id));
    look(pem, |certificate| {
        assert_eq!(certificate.version().0, 2, "version 3");
        assert_eq!(certificate.subject().to_string(), "CN=milan_navigli:0001");
        assert_eq!(
            certificate.issuer().to_string(),
            format!("CN={}", authority.subject)
        );
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature());
        assert_eq!(usage.value.flags, 1, "nothing but signatures");
        let extended = certificate.extended_key_usage().unwrap().unwrap();
        assert!(extended.value.client_auth && !extended.value.server_auth && !extended.value.any);
        assert!(!certificate.is_ca() && certificate.basic_constraints().unwrap().is_some());
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        assert_eq!(certificate.extensions().len(), 5, "no other extension");
    });
    assert!(subject_key_id(pem).is_some());
}

fn subject_key_id(pem: &str) -> Option<AuthorityId> {
    super::certificate::subject_key_id(pem)
}

#[test]
fn an_authority_signs_devices_only() {
    let kms = Kms::new();
    let authority = kms.authority(init(10), 1);
    assert_eq!(
        signer_of(&authority.certificate_pem).as_ref(),
        Some(&authority.authority_id),
        "it signed itself"
    );
    look(&authority.certificate_pem, |certificate| {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
        assert_eq!(certificate.subject(), certificate.issuer());
    });
    let again = kms.authority(init(10), 2);
    assert_ne!(
        again.authority_id, authority.authority_id,
        "the same key in turn is another authority"
    );
}

#[test]
fn serial_numbers_are_positive_and_short_enough() {
    let kms = Kms::new();
    let authority = kms.authority(init(10), 1);
    let csr = csr(&PKCS_ECDSA_P256_SHA256);
    let mut leading = [0; 16];
    leading[15] = 7;
    for (bytes, octets) in [([0xff; 16], 17), ([0x7f; 16], 16), (leading, 1)] {
        let serial = Serial::from_random(bytes).unwrap();
        let signed = device(&kms, &authority, &csr, serial, "1d");
        look(&signed.certificate_pem, |certificate| {
            let raw = certificate.raw_serial();
            assert_eq!(raw.len(), octets, "{raw:?}");
            assert!(raw[0] < 0x80, "negative: {raw:?}");
            assert!(raw.ends_with(&bytes[16 - octets.min(16)..]), "{raw:?}");
        });
    }
    assert!(Serial::from_random([0; 16]).is_err());
}

#[test]
fn validity_begins_early_and_never_outlives_the_authority() {
    let kms = Kms::new();
    let authority = kms.authority(init(1), 1);
    let start = NOW.epoch_seconds() - 300;
    let year = 365 * 86_400;
    for (lifetime, ends) in [
        ("30m", NOW.epoch_seconds() + 1800),
        ("12h", NOW.epoch_seconds() + 43_200),
        ("364d", NOW.epoch_seconds() + 364 * 86_400),
        ("366d", NOW.epoch_seconds() + year),
        ("9999d", NOW.epoch_seconds() + year),
    ] {
        let signed = device(
            &kms,
            &authority,
            &csr(&PKCS_ECDSA_P256_SHA256),
            number(3),
            lifetime,
        );
        let end = not_after(&signed.certificate_pem).unwrap();
        assert_eq!(u64::try_from(end).unwrap(), ends, "{lifetime}");
        let begin = look(&signed.certificate_pem, |c| {
            c.validity().not_before.timestamp()
        });
        assert_eq!(u64::try_from(begin).unwrap(), start, "{lifetime}");
    }
    assert_eq!(authority.not_before.epoch_seconds(), start);
    let lifetime = Lifetime::parse("1d").unwrap();
    assert!(authority.validity(authority.not_after, lifetime).is_err());
    let last = authority.not_after.minus_millis(1000);
    assert_eq!(
        authority.validity(last, lifetime).unwrap().not_after,
        authority.not_after
    );
}

#[test]
fn a_signature_that_is_not_the_issuers_is_refused() {
    let (kms, other) = (Kms::new(), Kms::new());
    let authority = kms.authority(init(10), 1);
    let validity = authority
        .validity(NOW, Lifetime::parse("1d").unwrap())
        .unwrap();
    let csr = csr(&PKCS_ECDSA_P256_SHA256);
    let unsigned = device_certificate(&authority, &thing(), &csr, validity, number(4)).unwrap();
    assert!(kms.sign(&unsigned).is_ok());
    assert!(other.sign(&unsigned).is_err(), "another key");
    assert!(unsigned.finish(b"junk").is_err());
    assert!(unsigned.finish(&[]).is_err());
    let elsewhere = kms.0.sign(b"something else").unwrap();
    assert!(unsigned.finish(&elsewhere).is_err(), "other bytes");
}

#[test]
fn what_cannot_be_certified_is_refused_with_its_field() {
    let kms = Kms::new();
    let authority = kms.authority(init(10), 1);
    let validity = authority
        .validity(NOW, Lifetime::parse("1d").unwrap())
        .unwrap();
    let csr = csr(&PKCS_ECDSA_P256_SHA256);
    for (length, refused) in [(64, false), (65, true)] {
        let name = ThingName::parse(&"x".repeat(length)).unwrap();
        let made = device_certificate(&authority, &name, &csr, validity, number(5));
        assert_eq!(made.is_err(), refused, "{length}");
        let field = made.err().and_then(|failure| failure.field);
        assert_eq!(field.as_deref(), refused.then_some("thingName"));
    }
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let made = authority_certificate(&init(10), &p384.subject_public_key_info(), number(6));
    assert!(made.is_err(), "an authority's key is P-256");
}

#[test]
fn lifetimes() {
    for (text, millis) in [
        ("365d", Some(365 * DAY_MILLIS)),
        ("12h", Some(DAY_MILLIS / 2)),
        ("30m", Some(30 * 60 * 1000)),
        ("9999d", Some(9999 * DAY_MILLIS)),
        ("10000d", None),
        ("0d", None),
        ("d", None),
        ("", None),
        ("365", None),
        ("-1d", None),
        ("+1d", None),
        ("1.5d", None),
        ("365ü", None),
    ] {
        assert_eq!(
            Lifetime::parse(text).ok().map(Lifetime::millis),
            millis,
            "{text:?}"
        );
    }
}

fn refused_init(body: &Value, field: &str) {
    let failure = InitRequest::parse(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(failure.field.as_deref(), Some(field), "{body}");
    assert!(!failure.remedy.is_empty());
}

#[test]
fn requests_are_checked() {
    assert_eq!(InitRequest::parse(b"").unwrap().years, 10);
    let asked = InitRequest::parse(br#"{"subject": " Milan lights ", "years": 30}"#).unwrap();
    assert_eq!(asked.subject.as_deref(), Some("Milan lights"));
    assert_eq!(asked.years, 30);
    refused_init(&json!({"years": 0}), "years");
    refused_init(&json!({"years": 31}), "years");
    refused_init(&json!({"subject": ""}), "subject");
    refused_init(&json!({"subject": "x".repeat(65)}), "subject");
    refused_init(&json!({"subject": "a\nb"}), "subject");
    refused_init(&json!({"colour": "red"}), "body");
    refused_init(&json!({"replaces": "a".repeat(40)}), "replaces");
    for body in [json!({}), json!({"replaces": "x"})] {
        let failure = RotationRequest::parse(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("replaces"), "{body}");
    }
}

fn rotation(replaces: &AuthorityId) -> RotationRequest {
    let body = json!({"replaces": replaces.as_str(), "years": 2});
    RotationRequest::parse(body.to_string().as_bytes()).unwrap()
}

#[test]
fn the_keys_are_used_in_turn_and_a_repeated_request_makes_nothing() {
    let kms = Kms::new();
    assert!(
        rotation(&AuthorityId("a".repeat(40)))
            .decide(None, &keys(), NOW)
            .is_err()
    );
    let first = kms.authority(init(1), 1);
    assert_eq!(first.key_arn, KEYS[0]);
    let standing = Standing {
        active: first.clone(),
        earlier: Vec::new(),
    };
    let again = InitRequest::parse(b"").unwrap();
    assert_eq!(again.decide(Some(&standing), &keys(), NOW), Ok(None));
    let named = |subject: &str| {
        let body = json!({ "subject": subject }).to_string();
        let request = InitRequest::parse(body.as_bytes()).unwrap();
        request.decide(Some(&standing), &keys(), NOW)
    };
    assert_eq!(named(&first.subject), Ok(None));
    let other = named("Other lights").unwrap_err();
    assert_eq!(other.field.as_deref(), Some("subject"));
    assert!(other.reason.contains(&first.subject), "{}", other.reason);

    let stranger = rotation(&AuthorityId("a".repeat(40)));
    let refused = stranger.decide(Some(&standing), &keys(), NOW).unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(refused.reason.contains(first.authority_id.as_str()));

    let to_second = rotation(&first.authority_id);
    let plan = to_second
        .decide(Some(&standing), &keys(), NOW)
        .unwrap()
        .unwrap();
    assert_eq!(
        (plan.key_arn.as_str(), plan.subject.as_str()),
        (KEYS[1], first.subject.as_str())
    );
    let second = kms.authority(plan, 2);
    let standing = standing.followed_by(second.clone(), NOW);
    assert_eq!(standing.valid(NOW), [&second, &first]);
    assert_eq!(
        to_second.decide(Some(&standing), &keys(), NOW),
        Ok(None),
        "repeated"
    );

    let to_third = rotation(&second.authority_id);
    let full = to_third.decide(Some(&standing), &keys(), NOW).unwrap_err();
    assert!(
        full.reason.contains("as many") && full.remedy.contains("2027"),
        "{full:?}"
    );
    let listed = json!(standing.list(NOW));
    let statuses = |listed: &Value| -> Vec<Value> {
        let items = listed["items"].as_array().unwrap();
        items.iter().map(|item| item["status"].clone()).collect()
    };
    assert_eq!(statuses(&listed), ["ACTIVE", "RETIRING"]);
    assert_eq!(listed["items"][0]["replaces"], first.authority_id.as_str());
    assert!(
        !listed.to_string().contains("key-"),
        "which key signs is not shown"
    );
    assert_eq!(statuses(&json!(standing.list(second.not_after))), ["ENDED"]);

    let later = first.not_after;
    assert_eq!(
        standing.valid(later),
        [&second],
        "what has ended is not listed"
    );
    let plan = to_third
        .decide(Some(&standing), &keys(), later)
        .unwrap()
        .unwrap();
    assert_eq!(plan.key_arn, KEYS[0], "its key is free again");
    let third = kms.authority(plan, 3);
    assert_eq!(
        standing.followed_by(third.clone(), later).valid(later),
        [&third, &second]
    );
}

/// A folder of its own for what openssl reads.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("authority-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether openssl accepts a device's certificate under an authority, by the
/// letter of RFC 5280.
fn openssl_accepts(authorities: &str, device: &str) -> bool {
    let at = NOW.epoch_seconds().to_string();
    let ran = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslclient",
            "-attime",
            &at,
        ])
        .args(["-CAfile", authorities, device])
        .output()
        .expect("openssl, from Debian's package of that name");
    ran.status.success()
}

#[test]
fn openssl_verifies_the_chain() {
    let (kms, next) = (Kms::new(), Kms::new());
    // Past 2050, dates are written in another form.
    let authority = kms.authority(init(30), 1);
    let standing = Standing {
        active: authority.clone(),
        earlier: Vec::new(),
    };
    let plan = rotation(&authority.authority_id)
        .decide(Some(&standing), &keys(), NOW)
        .unwrap()
        .unwrap();
    let successor = next.authority(plan, 2);
    let folder = Folder::new();
    let first = folder.file("first.pem", &authority.certificate_pem);
    let second = folder.file("second.pem", &successor.certificate_pem);
    let both = folder.file(
        "both.pem",
        &format!("{}{}", authority.certificate_pem, successor.certificate_pem),
    );
    let rsa = Csr::parse(include_str!("../../fixtures/rsa-2048.csr.pem")).unwrap();
    let requests = [
        csr(&PKCS_ECDSA_P256_SHA256),
        csr(&PKCS_ECDSA_P384_SHA384),
        rsa,
    ];
    for (i, request) in requests.iter().enumerate() {
        let old = device(&kms, &authority, request, number(3), "9999d").certificate_pem;
        let new = device(&next, &successor, request, number(4), "365d").certificate_pem;
        let old = folder.file(&format!("old-{i}.pem"), &old);
        let new = folder.file(&format!("new-{i}.pem"), &new);
        for (authorities, device, accepted) in [
            (&first, &old, true),
            (&second, &new, true),
            (&first, &new, false),
            (&second, &old, false),
            (&both, &old, true),
            (&both, &new, true),
        ] {
            assert_eq!(
                openssl_accepts(authorities, device),
                accepted,
                "{authorities} {device}"
            );
        }
    }
}
