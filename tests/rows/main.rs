//! The rows of the contract as data, each over the wire in raw and SockJS framing (streams.md 2, 7.3, 8): who may subscribe
//! to what, what every event of the backplane becomes byte by byte, and which writes of clients are passed on.
//! `scripts/rows` counts them.

mod cast;
mod coverage;
mod events;
mod presence;
mod profiles;
mod reads;
mod special;
mod subscribing;
mod writes;
