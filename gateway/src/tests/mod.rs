//! Tests of the whole crate.

pub(crate) mod client;
mod costs;
