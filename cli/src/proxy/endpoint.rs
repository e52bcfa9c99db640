//! Where AWS's proxy server is.

use std::net::IpAddr;
use std::str::FromStr;

/// The proxy server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Endpoint {
    /// A region's. Nothing where the text is no region's name: it may come from
    /// outside, and is about to be part of a host's.
    pub(crate) fn of_region(region: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        (!region.is_empty() && region.bytes().all(fits)).then(|| Self {
            host: format!("data.tunneling.iot.{region}.{domain}"),
            port: 443,
            tls: true,
        })
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// Reads `wss://HOST[:PORT]`, and `ws://…` for this machine: a token goes
    /// over no network in the clear.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let tls = match scheme {
            "wss" => true,
            "ws" => false,
            _ => return Err("write it as wss://HOST or wss://HOST:PORT".to_owned()),
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            None => (rest, if tls { 443 } else { 80 }),
            Some((host, port)) => {
                let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
                (host, port)
            }
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(format!("{host:?} is no host"));
        }
        let here = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if !tls && !here {
            return Err("without TLS (ws://) it has to be on this machine".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port, tls) in [
            ("wss://a.example", "a.example", 443, true),
            ("wss://a.example:8443/", "a.example", 8443, true),
            ("ws://127.0.0.1:4566", "127.0.0.1", 4566, false),
            ("ws://localhost", "localhost", 80, false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            let Endpoint {
                host: h,
                port: p,
                tls: t,
            } = endpoint;
            assert_eq!((h.as_str(), p, t), (host, port, tls));
        }
        for wrong in [
            "a.example",
            "http://a",
            "ws://a.example",
            "wss://",
            "wss://a:b",
            "wss://a b",
            "wss://a/b",
        ] {
            wrong.parse::<Endpoint>().expect_err(wrong);
        }
    }

    #[test]
    fn a_region_has_one_and_what_is_none_has_none() {
        let milan = Endpoint::of_region("eu-south-1").unwrap();
        assert_eq!(milan.host, "data.tunneling.iot.eu-south-1.amazonaws.com");
        for wrong in ["", "evil.example/", "EU", "eu south"] {
            assert_eq!(Endpoint::of_region(wrong), None);
        }
    }
}
