//! Benchmarks of group matching: the same definitions and the same changes for
//! every engine.

pub mod engines;
pub mod workload;
