//! The rules: what change of which collection becomes which events, with what in them (services.md 5.6, 5.7).
//!
//! Pure: a rule that needs to know more than the change says so, and is asked again once that has been read.

mod case;
mod integrations;
mod livechat;
mod people;
mod rooms;
mod workspace;

use store::{Change, Collection};

use case::Case;
pub(super) use case::{Announcement, Ask, Facts, Known};

/// What a change announces, if everything that its rule asks for is known.
pub(super) fn judge(
    change: &Change,
    known: &Known,
    facts: &Facts,
) -> Result<Vec<Announcement>, Ask> {
    let rule: Rule = match change.collection {
        Collection::Messages => rooms::message,
        Collection::Rooms => rooms::room,
        Collection::Subscriptions => rooms::subscription,
        Collection::Users => people::user,
        Collection::Instances => people::instance,
        Collection::Settings => workspace::setting,
        Collection::Permissions => workspace::permission,
        Collection::Roles => workspace::role,
        Collection::LoginServices => workspace::login_service,
        Collection::Inquiries => livechat::inquiry,
        Collection::DepartmentAgents => livechat::department_agent,
        Collection::Priorities => livechat::priority,
        Collection::PbxEvents => livechat::pbx_event,
        Collection::IntegrationHistory => integrations::history,
        Collection::Integrations => integrations::integration,
        Collection::EmailInbox => integrations::email_inbox,
        Collection::Teams
        | Collection::TeamMembers
        | Collection::Sessions
        | Collection::Statistics
        | Collection::Conferences
        | Collection::ServerEvents => return Ok(Vec::new()),
    };
    rule(&Case {
        change,
        known,
        facts,
    })
}

type Rule = fn(&Case<'_>) -> Result<Vec<Announcement>, Ask>;

#[cfg(test)]
mod tests;
