//! What a caller asks for who wants a device renewed.

use super::Messenger;
use crate::device::Custody;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::request::one_key;

/// A request for a renewal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Makes the request's repetition the same request.
    pub idempotency_key: Option<String>,
    /// Who is to make the new key; the device, unless an operator carries it.
    pub custody: Custody,
    /// Who tells the device; whoever the stack is set to, if nothing is said.
    pub messenger: Option<Messenger>,
}

impl Asked {
    /// Reads a body, which may be empty, and the header `Idempotency-Key`.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8], header: Option<&str>) -> Result<Self, Failure> {
        let (mut in_body, mut custody, mut messenger) = (None, None, None);
        if !body.is_empty() {
            let remedy = "Send none, or JSON: {\"custody\"?: \"device\" or \"vault\", \
                          \"messenger\"?: \"mqtt\" or \"job\", \"idempotencyKey\"?: …}.";
            let mut fields = Fields::parse(body, remedy)?;
            in_body = fields.text("idempotencyKey")?;
            custody = fields.text("custody")?;
            messenger = fields.text("messenger")?;
            fields.end()?;
        }
        Ok(Self {
            idempotency_key: one_key(in_body.as_deref(), header)?,
            custody: custody.map_or(Ok(Custody::Device), |text| Custody::parse(&text))?,
            messenger: messenger.map(|text| Messenger::parse(&text)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, header: Option<&str>, expected: Result<(Option<&str>, Custody), &str>) {
        let asked = Asked::parse(body.as_bytes(), header);
        let found = asked
            .as_ref()
            .map_err(|failure| failure.field.as_deref().unwrap_or_default());
        let found = found.map(|asked| (asked.idempotency_key.as_deref(), asked.custody));
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn a_renewal_is_by_the_devices_own_key_unless_a_vaults_is_asked_for() {
        use Custody::{Device, Vault};
        check("", None, Ok((None, Device)));
        check("{}", Some("k"), Ok((Some("k"), Device)));
        check(r#"{"custody": "device"}"#, None, Ok((None, Device)));
        check(
            r#"{"custody": "vault", "idempotencyKey": "k"}"#,
            None,
            Ok((Some("k"), Vault)),
        );
        check(r#"{"custody": "Vault"}"#, None, Err("custody"));
        check(r#"{"custody": true}"#, None, Err("custody"));
        check(r#"{"messenger": "job"}"#, None, Ok((None, Device)));
        check(r#"{"messenger": "pigeon"}"#, None, Err("messenger"));
        check(r#"{"keeper": "vault"}"#, None, Err("body"));
        check("[]", None, Err("body"));
    }
}
