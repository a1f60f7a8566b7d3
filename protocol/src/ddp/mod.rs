//! DDP's messages under DDP's names; what they carry stays raw JSON.

pub(crate) mod blocks;
mod decodable;
pub mod decode;
pub mod ejson;
pub mod encode;
mod error;
mod message;
mod regexp;
mod scan;
mod text;
pub(crate) mod walk;

pub use error::{Error, ErrorCode};
pub use message::{ClientMessage, Refused};
