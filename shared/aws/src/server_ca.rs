//! The authority that signs AWS IoT's endpoints.

/// Amazon Root CA 1 ("Server authentication", AWS IoT Core Developer Guide).
pub const AMAZON_ROOT_CA_1: &str = include_str!("amazon-root-ca-1.pem");
