//! Which API is spoken to, in which region, as whom.

use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use serde::Deserialize;

use crate::failure::Failure;
use crate::proxy;
use crate::reference::Endpoint;

/// Where the local cloud leaves what it made.
const LOCAL_OUTPUTS: &str = ".local/outputs.json";

/// Under what the help lists the options of every command.
pub(crate) const HEADING: &str = "Options of every command";

const HOW_TO_NAME_AN_API: &str = "Start the local cloud with `make local`, or name the stack's \
                                  ApiUrl with --api-url or LAMP_API_URL.";

/// What the command line says about it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Target {
    /// The API's address (the stack's output `ApiUrl`); the caller is then
    /// who the AWS environment or profile says
    #[arg(long, global = true, env = "LAMP_API_URL", value_name = "URL")]
    api_url: Option<String>,

    /// The outputs of a stack, with its address and, for the local cloud,
    /// credentials [default: .local/outputs.json]
    #[arg(long, global = true, env = "LAMP_OUTPUTS", value_name = "FILE")]
    outputs: Option<PathBuf>,

    /// The AWS region to sign for, where the address does not tell
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
}

/// The part of the outputs file that is of use here.
#[derive(Debug, Default, Deserialize)]
struct Outputs {
    api_url: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    mqtt_host: Option<String>,
    mqtt_port: Option<u16>,
    mqtt_ca: Option<PathBuf>,
    tunnel_endpoint: Option<String>,
}

impl Target {
    /// The proxy server of the local cloud's tunnels, if that is the target.
    pub(crate) fn local_tunnels(&self) -> Option<proxy::Endpoint> {
        read_outputs(self).ok()?.tunnel_endpoint?.parse().ok()
    }

    /// The region, where something says it.
    pub(crate) fn region(&self) -> Result<String, Failure> {
        let outputs = read_outputs(self).unwrap_or_default();
        let url = self.api_url.as_ref().or(outputs.api_url.as_ref());
        let named = self.region.clone().or(outputs.region);
        named
            .or_else(|| region_of(url?))
            .or_else(|| std::env::var("AWS_REGION").ok())
            .ok_or_else(no_region)
    }

    /// The proxy server of tunnels.
    pub(crate) fn tunnels(&self) -> Result<proxy::Endpoint, Failure> {
        if let Some(local) = self.local_tunnels() {
            return Ok(local);
        }
        let region = self.region()?;
        let no_name = || Failure::usage(format!("{region:?} is no region"), "");
        proxy::Endpoint::of_region(&region).ok_or_else(no_name)
    }
}

/// Where devices connect, and the authority that vouches for the server there
/// if it is not one that everybody trusts.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) endpoint: Endpoint,
    pub(crate) server_ca: Option<PathBuf>,
}

impl Broker {
    /// The broker that the command line names, or else that of the outputs.
    pub(crate) fn resolve(
        endpoint: Option<Endpoint>,
        server_ca: Option<PathBuf>,
        target: &Target,
    ) -> Result<Self, Failure> {
        if let Some(endpoint) = endpoint {
            return Ok(Self {
                endpoint,
                server_ca,
            });
        }
        let outputs = read_outputs(target)?;
        let (Some(host), Some(port)) = (outputs.mqtt_host, outputs.mqtt_port) else {
            return Err(Failure::usage(
                "no endpoint is named",
                "Give --endpoint, as `aws iot describe-endpoint --endpoint-type iot:Data-ATS` \
                 answers it.",
            ));
        };
        Ok(Self {
            endpoint: Endpoint { host, port },
            server_ca: server_ca.or(outputs.mqtt_ca),
        })
    }
}

/// What a request needs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) api_url: String,
    /// As whom it is signed; a device that enrols is nobody in AWS.
    pub(crate) signer: Option<Signer>,
}

/// Who signs requests.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) region: String,
    credentials: SharedCredentialsProvider,
}

impl Settings {
    /// The API alone: its open route wants no signature.
    pub(crate) fn of_nobody(target: &Target) -> Result<Self, Failure> {
        let outputs = read_outputs(target)?;
        Ok(Self {
            api_url: api_url(target, outputs.api_url)?,
            signer: None,
        })
    }

    pub(crate) async fn resolve(target: &Target) -> Result<Self, Failure> {
        let outputs = read_outputs(target)?;
        let api_url = api_url(target, outputs.api_url)?;
        let region = target
            .region
            .clone()
            .or(outputs.region)
            .or_else(|| region_of(&api_url));
        let local = outputs
            .access_key_id
            .zip(outputs.secret_access_key)
            .map(|(id, secret)| {
                let token = outputs.session_token;
                SharedCredentialsProvider::new(Credentials::new(id, secret, token, None, "outputs"))
            });
        if let (Some(region), Some(credentials)) = (region.clone(), local.clone()) {
            return Ok(Self::signed(api_url, region, credentials));
        }
        let aws = aws_config::load_from_env().await;
        let region = region
            .or_else(|| aws.region().map(ToString::to_string))
            .ok_or_else(no_region)?;
        let credentials = local
            .or_else(|| aws.credentials_provider())
            .ok_or_else(no_credentials)?;
        Ok(Self::signed(api_url, region, credentials))
    }

    fn signed(api_url: String, region: String, credentials: SharedCredentialsProvider) -> Self {
        Self {
            api_url,
            signer: Some(Signer {
                region,
                credentials,
            }),
        }
    }
}

impl Signer {
    /// The caller's credentials of this moment; the provider renews them.
    pub(crate) async fn credentials(&self) -> Result<Credentials, Failure> {
        self.credentials
            .provide_credentials()
            .await
            .map_err(|error| {
                let mut failure = no_credentials();
                failure.reason = format!("{}: {error}", failure.reason);
                failure
            })
    }
}

fn api_url(target: &Target, of_outputs: Option<String>) -> Result<String, Failure> {
    let named = target.api_url.clone().or(of_outputs);
    named.ok_or_else(|| Failure::usage("no API is named", HOW_TO_NAME_AN_API))
}

fn no_region() -> Failure {
    Failure::usage("no AWS region is set", "Give --region, or set AWS_REGION.")
}

fn no_credentials() -> Failure {
    Failure::usage(
        "no AWS credentials are found",
        "Set AWS_PROFILE or AWS_ACCESS_KEY_ID; for single sign-on, give the profile \
         `credential_process = aws configure export-credentials --profile NAME`.",
    )
}

/// The outputs file, unless an address is given without one: credentials of
/// the local cloud are of no use anywhere else.
fn read_outputs(target: &Target) -> Result<Outputs, Failure> {
    let path = match (&target.outputs, &target.api_url) {
        (Some(path), _) => path.as_path(),
        (None, Some(_)) => return Ok(Outputs::default()),
        (None, None) => Path::new(LOCAL_OUTPUTS),
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), HOW_TO_NAME_AN_API)
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display()), ""))
}

/// The region in the name of an API Gateway endpoint.
fn region_of(api_url: &str) -> Option<String> {
    let host = api_url.split_once("://")?.1.split('/').next()?;
    let mut labels = host.split('.').skip(1);
    (labels.next() == Some("execute-api")).then(|| labels.next().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aws_address_tells_its_region() {
        let aws = "https://abc.execute-api.eu-south-1.amazonaws.com/prod";
        assert_eq!(region_of(aws).as_deref(), Some("eu-south-1"));
        assert_eq!(region_of("https://lamps.example.com/"), None);
        assert_eq!(
            region_of("http://127.0.0.1:4566/_aws/execute-api/abc/$default"),
            None
        );
    }
}
