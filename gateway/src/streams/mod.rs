//! What clients may follow and what events become: tables and rules as data, and what is read out of texts. Pure: nobody is
//! asked, nothing is awaited.

pub(crate) mod connection;
pub(crate) mod ephemeral;
pub(crate) mod events;
pub(crate) mod flag;
pub(crate) mod inquiry;
pub(crate) mod line;
pub(crate) mod plan;
pub(crate) mod presence_status;
pub(crate) mod question;
pub(crate) mod request;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod scope;
pub(crate) mod setting;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod topic;
pub(crate) mod watch;
