//! Whole-system tests against the local cloud.
