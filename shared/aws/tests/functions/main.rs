//! The smaller functions through the real clients, over an AWS in memory.

#![cfg(all(
    feature = "dynamodb",
    feature = "eventbridge",
    feature = "iot",
    feature = "kms",
    feature = "s3",
    feature = "sfn"
))]

mod account;
mod announce;
mod authority;
mod catalog;
mod cloud;
mod enrolment;
mod handout;
mod minting;
mod preregister;
mod query;
mod sweeps;
mod table;
