//! The smaller functions through the real clients, over an AWS in memory.

#![cfg(all(
    feature = "dynamodb",
    feature = "eventbridge",
    feature = "iot",
    feature = "kms",
    feature = "s3"
))]

mod account;
mod announce;
mod catalog;
mod cloud;
mod handout;
mod preregister;
mod query;
mod table;
