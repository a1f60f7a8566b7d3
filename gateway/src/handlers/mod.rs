//! One file for each thing that happens to the bus thread: it reads and moves the state, asks upstream, posts to the shards.

mod conference;
mod connection;
pub(crate) mod core;
mod documents;
mod emit;
mod event;
mod facts;
mod hub;
pub(crate) mod instance;
mod judge;
pub(crate) mod line;
pub(crate) mod login;
mod membership;
pub(crate) mod method;
pub(crate) mod mirrors;
mod my_messages;
pub(crate) mod presence;
pub(crate) mod rejudge;
pub(crate) mod resync;
mod room;
pub(crate) mod scopes;
pub(crate) mod settings;
mod subscription;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;
mod user;
mod watched;
mod windows;
mod work;
mod write;
