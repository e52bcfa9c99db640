//! Jobs: what devices are told to do, checked before anything is sent.
//!
//! A [`Document`] is the AWS IoT Device Client's: steps, each of which has a
//! handler run. A [`Template`] stands in the catalog, with parameters that are
//! declared, filled in and checked here, because AWS IoT fills in those of its
//! own managed templates only. [`execution`] is the device's part.

pub mod document;
pub mod execution;
pub mod object;
pub mod parameters;
pub mod pattern;
pub(crate) mod read;
pub mod template;
#[cfg(test)]
mod tests;

pub use document::{Action, Document, Handler};
pub use object::S3Object;
pub use parameters::{Parameter, Parameters};
pub use template::{Prepared, Template};
