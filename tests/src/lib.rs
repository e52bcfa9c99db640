//! What the whole-system tests share.
//!
//! They use the deployed stack as its callers do, by signed HTTP, and look at
//! what stands in the local cloud as the account's root. `LAMPLIGHTER_OUTPUTS`
//! names the stack's outputs; without a cloud every test fails.

#![expect(
    clippy::missing_panics_doc,
    reason = "here a panic is how a test fails"
)]

pub mod authority;
pub mod cases;
pub mod cloud;
pub mod delivery;
pub mod device;
pub mod enrolment;
pub mod faults;
pub mod groups;
pub mod inventory;
pub mod lamp;
pub mod organisation;
pub mod removal;
pub mod rollout;
pub mod rotation;
pub mod running;
pub mod ssh;
pub mod tunnels;
