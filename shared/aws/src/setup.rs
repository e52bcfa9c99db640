//! What every function does once, in init: read the environment, build clients.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use lamplighter_domain::Failure;
use lamplighter_domain::due::RenewalAge;
use lamplighter_domain::rotation::{Messenger, Windows};

/// The configuration every client is built from.
///
/// Credentials come from the environment only, as Lambda gives them: no
/// profile files are read and no metadata service is asked, which would cost a
/// cold start its milliseconds.
pub async fn sdk() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(
            aws_config::environment::EnvironmentVariableCredentialsProvider::new(),
        )
        .region(aws_config::environment::EnvironmentVariableRegionProvider::new())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(Duration::from_secs(4))
                .operation_timeout(Duration::from_secs(9))
                .build(),
        )
        .load()
        .await
}

/// A required environment variable; the template sets them all.
pub fn required(name: &str) -> Result<String, Failure> {
    optional(name)
        .ok_or_else(|| Failure::bug(format!("the environment variable {name} is not set")))
}

/// An environment variable that may be missing or empty.
pub fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A required number of seconds, in milliseconds.
pub fn seconds(name: &str) -> Result<u64, Failure> {
    let text = required(name)?;
    let seconds: u64 = text
        .parse()
        .map_err(|_| Failure::bug(format!("{name} is {text:?}, which is no number of seconds")))?;
    Ok(seconds * 1000)
}

/// How long the parts of a rotation may take.
pub fn rotation_windows() -> Result<Windows, Failure> {
    Ok(Windows {
        request_millis: seconds("REQUEST_WINDOW_SECONDS")?,
        proof_millis: seconds("PROOF_WINDOW_SECONDS")?,
        grace_millis: seconds("GRACE_SECONDS")?,
    })
}

/// Who tells devices that their certificates are due.
pub fn messenger() -> Result<Messenger, Failure> {
    Messenger::parse(&required("RENEWAL_MESSENGER")?)
}

/// At what age certificates of AWS IoT's own authority are renewed.
pub fn renewal_age() -> Result<RenewalAge, Failure> {
    optional("RENEWAL_AGE_DAYS").map_or(Ok(RenewalAge::default()), |days| RenewalAge::parse(&days))
}

/// S3's client. The path style keeps the bucket out of the host name where an
/// endpoint of one's own, as on a laptop, has no wildcard DNS.
#[cfg(feature = "s3")]
pub fn s3(sdk: &SdkConfig) -> aws_sdk_s3::Client {
    let own_endpoint = optional("AWS_ENDPOINT_URL").is_some();
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(sdk)
            .force_path_style(own_endpoint)
            .build(),
    )
}
