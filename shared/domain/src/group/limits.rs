//! The limits of a query (AWS General Reference, "AWS IoT Device Management
//! endpoints and quotas", fleet indexing; Developer Guide, "Query syntax").

/// Bytes of UTF-8.
pub(crate) const MOST_BYTES: usize = 1000;
/// The same with a wildcard at the start of a term.
pub(crate) const MOST_BYTES_WITH_LEADING_WILDCARD: usize = 100;
/// Terms of a query.
pub(crate) const MOST_TERMS: usize = 12;
/// `*` in one term.
pub(crate) const MOST_STARS: usize = 2;
/// `?` in one term.
pub(crate) const MOST_MARKS: usize = 5;
