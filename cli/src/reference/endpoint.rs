//! Where a device connects.

use std::str::FromStr;

/// The port of MQTT with a client certificate.
const MQTT: u16 = 8883;

/// The port that firewalls leave open.
const HTTPS: u16 = 443;

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// The protocol to name in the TLS handshake. AWS IoT Core Developer
    /// Guide, "Device communication protocols": on port 443 a client with a
    /// certificate asks for `x-amzn-mqtt-ca`, on 8883 for nothing.
    pub(crate) fn alpn(&self) -> Vec<Vec<u8>> {
        match self.port {
            HTTPS => vec![b"x-amzn-mqtt-ca".to_vec()],
            _ => Vec::new(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// Reads `HOST` or `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            None => (text, MQTT),
            Some((host, port)) => {
                let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
                (host, port)
            }
        };
        if host.is_empty() || host.contains(['/', ':']) {
            return Err("write it as HOST or HOST:PORT, without a scheme".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, port: u16, alpn: &[&str]) {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
        let asked: Vec<_> = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        assert_eq!(endpoint.alpn(), asked, "{text}");
    }

    #[test]
    fn the_port_decides_which_protocol_is_asked_for() {
        check("a.example", "a.example", 8883, &[]);
        check("a.example:443", "a.example", 443, &["x-amzn-mqtt-ca"]);
        check("127.0.0.1:40123", "127.0.0.1", 40123, &[]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":8883", "mqtts://a:8883", "a:", "a:70000", "a:b:1"] {
            text.parse::<Endpoint>().expect_err(text);
        }
    }
}
