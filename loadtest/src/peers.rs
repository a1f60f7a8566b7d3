//! Servers that the gateway is measured against in the same run.

pub(crate) mod floor;
