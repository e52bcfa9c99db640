//! What Lamplighter decides: intent and observation in, a decided plan out.
//!
//! Nothing here reads a clock, draws a random number or talks to a network;
//! time and identifiers arrive as values. That is what lets every decision be
//! tested as a table.
//!
//! The invariants that the whole system keeps, quoted by number elsewhere:
//!
//! 1. One device, one certificate.
//! 2. Never locked out: the certificate last proved stays in force until the
//!    next one is proved.
//! 3. Nothing orphaned: when an operation has ended, every certificate, key
//!    object, membership and record is explained by a device.
//! 4. Keys stay secret: on the device, or encrypted in custody, and nowhere
//!    else.
//! 5. Authority is checked: a certificate id that somebody names is checked
//!    against the device's own principals first.
//! 6. Repeatable: any event twice, late or out of order ends in the same state.
//! 7. Membership converges.
//! 8. Least privilege.

pub mod announcement;
pub mod authority;
pub mod building;
pub mod catalog;
pub mod claim;
pub mod compromise;
pub mod cost;
pub mod create;
pub mod csr;
pub mod custody;
pub mod default_policy;
pub mod delete;
pub mod device;
pub mod due;
pub mod enrolment;
pub mod failure;
pub mod fields;
pub mod group;
pub mod handout;
pub mod job;
pub mod listing;
pub mod membership;
pub mod names;
pub mod operation;
pub mod pieces;
pub mod preregistration;
pub mod quote;
pub mod request;
pub mod rollout;
pub mod rotation;
pub mod stop;
pub mod sweep;
pub mod time;
pub mod tunnel;
pub mod update;
pub mod view;

pub use failure::{Failure, Kind};
