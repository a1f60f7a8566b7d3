//! Tests of the whole crate.

mod costs;
