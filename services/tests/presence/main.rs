//! Presence over a bus, on the embedded store and on a server that speaks MongoDB's protocol.

mod cap;
mod churn;
mod claims;
mod modes;
mod nodes;
mod order;
mod place;
mod truth;
