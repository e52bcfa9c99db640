//! What a caller is shown of the authorities: never which key signs.

use serde::Serialize;

use super::{Authority, AuthorityId, Standing};
use crate::time::Moment;

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityView<'a> {
    authority_id: &'a AuthorityId,
    /// `ACTIVE` signs new certificates, `RETIRING` only stands for its old ones,
    /// `ENDED` is an active one that nobody followed in time.
    status: &'static str,
    subject: &'a str,
    certificate_pem: &'a str,
    not_before: Moment,
    not_after: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<&'a AuthorityId>,
}

/// Every authority that devices may have certificates of, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthorityList<'a> {
    items: Vec<AuthorityView<'a>>,
}

impl Standing {
    /// The active authority.
    pub fn view(&self, now: Moment) -> AuthorityView<'_> {
        let status = if self.active.not_after > now {
            "ACTIVE"
        } else {
            "ENDED"
        };
        view(&self.active, status)
    }

    /// The active authority and those before it that have not ended.
    pub fn list(&self, now: Moment) -> AuthorityList<'_> {
        let earlier = self
            .earlier
            .iter()
            .filter(|authority| authority.not_after > now)
            .map(|authority| view(authority, "RETIRING"));
        AuthorityList {
            items: std::iter::once(self.view(now)).chain(earlier).collect(),
        }
    }
}

impl AuthorityList<'_> {
    /// What is listed before there is any.
    pub const EMPTY: Self = Self { items: Vec::new() };
}

fn view<'a>(authority: &'a Authority, status: &'static str) -> AuthorityView<'a> {
    AuthorityView {
        authority_id: &authority.authority_id,
        status,
        subject: &authority.subject,
        certificate_pem: &authority.certificate_pem,
        not_before: authority.not_before,
        not_after: authority.not_after,
        replaces: authority.replaces.as_ref(),
    }
}
