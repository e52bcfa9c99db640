//! From requests about tunnels, and the watch's schedule, to tunnels and back.

use lamplighter_aws::failure::Reported;
use lamplighter_aws::tunnels::Tunnels;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::tunnel::request::TunnelRequest;
use lamplighter_domain::tunnel::view::{TunnelQuery, TunnelView};
use lamplighter_domain::tunnel::{Status, Token, Tunnel, TunnelId};
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(tunnels: &Tunnels, event: Value) -> Result<Value, Reported> {
    if http::is_request(&event) {
        return Ok(json!(match over_http(tunnels, event).await {
            Ok(answer) => http::uncacheable(answer),
            Err(failure) => http::problem(&failure, None),
        }));
    }
    let watched = tunnels.watch().await.inspect_err(telemetry::failed)?;
    Ok(json!(watched))
}

async fn over_http(tunnels: &Tunnels, event: Value) -> Result<http::Response, Failure> {
    let request = http::request(event)?;
    let thing = || ThingName::parse(http::path(&request, "thingName"));
    let id = || TunnelId::parse(http::path(&request, "tunnelId"));
    match request.route_key.as_deref().unwrap_or_default() {
        "POST /devices/{thingName}/tunnels" => {
            let (body, header) = (
                http::body(&request)?,
                http::header(&request, "idempotency-key"),
            );
            let (asked, key) = TunnelRequest::parse(&body, header.as_deref(), &tunnels.services)?;
            let by = http::caller(&request)?;
            let (tunnel, token) = tunnels.open(&thing()?, asked, key.as_deref(), &by).await?;
            let status = match (tunnel.status, &token) {
                (_, Some(_)) => 201,
                (Status::Queued, None) => 202,
                _ => 200,
            };
            Ok(http::answer(status, &with_token(&tunnel, token)))
        }
        "GET /devices/{thingName}/tunnels" => {
            let query = request.raw_query_string.as_deref().unwrap_or_default();
            let page = tunnels.list(&thing()?, &TunnelQuery::parse(query)?).await?;
            Ok(http::answer(200, &page))
        }
        "GET /tunnels/{tunnelId}" => Ok(http::answer(200, &tunnels.show(&id()?).await?)),
        "POST /tunnels/{tunnelId}/rotation" => {
            let (tunnel, token) = tunnels.rotate(&id()?, &http::caller(&request)?).await?;
            Ok(http::answer(200, &with_token(&tunnel, Some(token))))
        }
        "DELETE /tunnels/{tunnelId}" => {
            let tunnel = tunnels.close(&id()?, &http::caller(&request)?).await?;
            Ok(http::answer(200, &TunnelView::new(&tunnel)))
        }
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}

/// The one answer that has a token.
fn with_token(tunnel: &Tunnel, token: Option<Token>) -> Value {
    let mut body = json!(TunnelView::new(tunnel));
    if let Some(token) = token {
        body["sourceAccessToken"] = token.hand_out().into();
    }
    body
}
