//! Integrations, what they did, and mailboxes.

use store::ChangeKind;

use super::case::{Announcement, Ask, Case, event};

pub(super) fn history(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let diff = case.diff()?;
    let data = match case.change.kind {
        ChangeKind::Inserted | ChangeKind::Replaced => case.document(&[])?,
        // Whose it is, so that receivers can find who looks at it.
        ChangeKind::Updated { .. } => case
            .document(&["integration._id"])?
            .filter(|entry| entry.contains_key("integration")),
        ChangeKind::Removed => None,
    };
    Ok(match data {
        Some(data) => event(
            "watch.integrationHistory",
            case.by_id(),
            [("data", Some(data)), ("diff", diff)],
        ),
        None => Vec::new(),
    })
}

pub(super) fn integration(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    whole("watch.integrations", case)
}

pub(super) fn email_inbox(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    whole("watch.emailInbox", case)
}

fn whole(name: &'static str, case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let data = match case.is_removed() {
        true => Some(case.only_id()),
        false => case.document(&[])?,
    };
    Ok(match data {
        Some(data) => event(name, case.by_id(), [("data", Some(data))]),
        None => Vec::new(),
    })
}
