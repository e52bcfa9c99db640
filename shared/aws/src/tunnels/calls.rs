//! What AWS is asked for.

use aws_sdk_iotsecuretunneling::config::Config;
use aws_sdk_iotsecuretunneling::config::retry::RetryConfig;
use aws_sdk_iotsecuretunneling::types::{
    ClientMode, ConnectionState, ConnectionStatus, DestinationConfig, TimeoutConfig, TunnelStatus,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::tunnel::pace::Pace;
use lamplighter_domain::tunnel::view::Connected;
use lamplighter_domain::tunnel::{Presence, Token, Tunnel};
use tokio::time::{Duration, sleep};

use super::{ATTEMPTS, Tunnels};
use crate::clock;
use crate::failure::{self, Cause};
use crate::table::{self, Key};

/// What came of `OpenTunnel`.
pub(super) enum Opened {
    /// It is open.
    Yes { aws_id: String, token: Token },
    /// AWS was asked too often; certainly not opened.
    Throttled(Failure),
    /// It may be.
    Lost(Failure),
    /// AWS would not.
    Refused(Failure),
}

impl Tunnels {
    /// Whether the device is connected at this moment: its client id is its
    /// name (`GetConnection`, AWS IoT Core Data Plane API Reference).
    pub(super) async fn presence(&self, thing: &ThingName) -> Result<Presence, Failure> {
        match self
            .data
            .get_connection()
            .client_id(thing.as_str())
            .send()
            .await
        {
            Ok(connection) if connection.connected => Ok(Presence::Connected),
            Ok(_) => Ok(Presence::Disconnected),
            // A client that has never connected, or not for long, is unknown.
            Err(error) if failure::cause(&error) == Cause::NotFound => Ok(Presence::Disconnected),
            Err(error) => Err(failure::of("iot:GetConnection", &error)),
        }
    }

    /// Waits for its turn, of which an account has few a second.
    ///
    /// # Errors
    /// `Busy` where many wait already.
    pub(super) async fn turn(&self, call: &str) -> Result<(), Failure> {
        let key = Key::pace(call);
        for _ in 0..ATTEMPTS {
            let before: Option<Pace> = self.table.get(&key).await?;
            let now = clock::now();
            let (slot, after) = before.unwrap_or_default().take(self.per_second, now)?;
            let put = self
                .table
                .client
                .put_item()
                .table_name(&self.table.name)
                .set_item(Some(table::write(&key, &after)?));
            let put = match before {
                None => put.condition_expression("attribute_not_exists(PK)"),
                Some(pace) => put
                    .condition_expression("#next = :seen")
                    .expression_attribute_names("#next", "next")
                    .expression_attribute_values(":seen", table::attribute(&pace.next)?),
            };
            match put.send().await {
                Ok(_) => {
                    sleep(Duration::from_millis(now.until(slot))).await;
                    return Ok(());
                }
                Err(error) if failure::cause(&error) == Cause::Condition => {}
                Err(error) => return Err(failure::of("dynamodb:PutItem", &error)),
            }
        }
        Err(Failure::busy(
            "many tunnels are asked for at this moment",
            1,
        ))
    }

    /// Opens it, once: another call would open another one.
    pub(super) async fn open_in_aws(&self, tunnel: &Tunnel) -> Opened {
        let minutes = i32::from(tunnel.request.minutes.get());
        let lifetime = TimeoutConfig::builder().max_lifetime_timeout_minutes(minutes);
        let answer = self
            .aws
            .open_tunnel()
            .description(tunnel.description())
            .timeout_config(lifetime.build())
            .set_destination_config(destination(tunnel).ok())
            .customize()
            .config_override(Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let error = match answer {
            Ok(answer) => {
                return match (answer.tunnel_id, answer.source_access_token) {
                    (Some(aws_id), Some(token)) => Opened::Yes {
                        aws_id,
                        token: Token::new(token),
                    },
                    _ => Opened::Lost(Failure::bug("OpenTunnel answered without a token")),
                };
            }
            Err(error) => error,
        };
        let failure = failure::of("iot:OpenTunnel", &error);
        match failure::cause(&error) {
            Cause::Throttled => Opened::Throttled(failure),
            Cause::Lost => Opened::Lost(failure),
            _ if error.code() == Some("LimitExceededException") => {
                let reason = "the account has as many tunnels open as it may";
                Opened::Throttled(Failure::busy(reason, 60).operator(failure.operator))
            }
            _ => Opened::Refused(failure),
        }
    }

    /// New tokens: the source's is answered, AWS tells the device its own.
    /// Nothing, if AWS has the tunnel no more.
    pub(super) async fn new_tokens(&self, tunnel: &Tunnel) -> Result<Option<Token>, Failure> {
        let answer = self
            .aws
            .rotate_tunnel_access_token()
            .set_tunnel_id(tunnel.aws_tunnel_id.clone())
            .client_mode(ClientMode::All)
            .destination_config(destination(tunnel)?)
            .send()
            .await;
        match answer {
            Ok(answer) => match answer.source_access_token {
                Some(token) => Ok(Some(Token::new(token))),
                None => Err(Failure::bug("a rotation answered without a token")),
            },
            Err(error) if failure::cause(&error) == Cause::NotFound => Ok(None),
            Err(error) => Err(failure::of("iot:RotateTunnelAccessToken", &error)),
        }
    }

    /// Who is connected to a tunnel, if AWS has it open.
    pub(super) async fn described(&self, aws_id: &str) -> Result<Option<Connected>, Failure> {
        let tunnel = match self.aws.describe_tunnel().tunnel_id(aws_id).send().await {
            Ok(answer) => answer.tunnel,
            Err(error) if failure::cause(&error) == Cause::NotFound => None,
            Err(error) => return Err(failure::of("iot:DescribeTunnel", &error)),
        };
        let open = tunnel.filter(|tunnel| tunnel.status != Some(TunnelStatus::Closed));
        let connected = |state: Option<ConnectionState>| {
            state.and_then(|state| state.status) == Some(ConnectionStatus::Connected)
        };
        Ok(open.map(|tunnel| Connected {
            source: connected(tunnel.source_connection_state),
            destination: connected(tunnel.destination_connection_state),
        }))
    }

    /// What AWS has open that was opened for this one.
    pub(super) async fn opened_for(&self, tunnel: &Tunnel) -> Result<Vec<String>, Failure> {
        let request = self
            .aws
            .list_tunnels()
            .thing_name(tunnel.thing_name.as_str());
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if failure::cause(&error) == Cause::NotFound => break,
                Err(error) => return Err(failure::of("iot:ListTunnels", &error)),
            };
            let summaries = page.tunnel_summaries.unwrap_or_default().into_iter();
            let ours = summaries.filter(|one| {
                let described = one.description.as_deref().unwrap_or_default();
                one.status != Some(TunnelStatus::Closed) && tunnel.is_described_by(described)
            });
            found.extend(ours.filter_map(|one| one.tunnel_id));
        }
        Ok(found)
    }

    /// Closes one; what AWS has not is closed.
    pub(super) async fn close_in_aws(&self, aws_id: &str) -> Result<(), Failure> {
        self.turn("CLOSE").await?;
        match self.aws.close_tunnel().tunnel_id(aws_id).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::NotFound => Ok(()),
            Err(error) => Err(failure::of("iot:CloseTunnel", &error)),
        }
    }

    /// Closes in AWS what a closed tunnel may have left there, and forgets that
    /// there was something.
    pub(super) async fn clear(&self, tunnel: &Tunnel) -> Result<(), Failure> {
        let key = Key::live_tunnel(&tunnel.tunnel_id);
        if self
            .table
            .get::<super::rows::Pointer>(&key)
            .await?
            .is_none()
        {
            return Ok(());
        }
        if tunnel.may_linger() {
            for aws_id in self.opened_for(tunnel).await? {
                self.close_in_aws(&aws_id).await?;
            }
            // Whoever is opening it at this moment closes it; the watch looks
            // whether they have.
            if tunnel.lease_until.is_some_and(|lease| clock::now() < lease) {
                return Ok(());
            }
        }
        self.table.remove(&key).await
    }
}

fn destination(tunnel: &Tunnel) -> Result<DestinationConfig, Failure> {
    DestinationConfig::builder()
        .thing_name(tunnel.thing_name.as_str())
        .set_services(Some(tunnel.request.services.iter().cloned().collect()))
        .build()
        .map_err(|error| Failure::bug(format!("a tunnel's destination: {error}")))
}
