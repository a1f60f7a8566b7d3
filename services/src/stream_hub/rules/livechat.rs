//! Livechat: inquiries, agents, priorities, telephone events.

use store::{ChangeKind, bson::doc, project};

use super::case::{Announcement, Ask, Case, event};

pub(super) fn inquiry(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let inquiry = match case.is_removed() {
        true => case.trash()?,
        false => case.document(&[])?,
    };
    let payload = doc! { "clientAction": case.action() };
    Ok(match inquiry {
        Some(inquiry) => {
            let members = [("inquiry", Some(inquiry)), ("diff", case.diff()?)];
            event("watch.inquiries", payload, members)
        }
        None => Vec::new(),
    })
}

pub(super) fn department_agent(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let diff = case.diff()?;
    let data = match case.is_removed() {
        true => case.trash()?.map(|agent| project(&agent, AGENT_FIELDS)),
        false => case.document(AGENT_FIELDS)?,
    };
    Ok(match data {
        Some(data) => event(
            "watch.livechatDepartmentAgents",
            case.by_id(),
            [("data", Some(data)), ("diff", diff)],
        ),
        None => Vec::new(),
    })
}

/// Only a new name shows.
pub(super) fn priority(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let is_renamed = match &case.change.kind {
        ChangeKind::Updated { diff, unset, .. } => {
            diff.contains_key("name") || unset.iter().any(|field| field == "name")
        }
        ChangeKind::Replaced => true,
        ChangeKind::Inserted | ChangeKind::Removed => false,
    };
    if !is_renamed {
        return Ok(Vec::new());
    }
    Ok(match case.document(&[])? {
        Some(data) => event(
            "watch.priorities",
            case.by_id(),
            [("data", Some(data)), ("diff", case.diff()?)],
        ),
        None => Vec::new(),
    })
}

pub(super) fn pbx_event(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    if case.change.kind != ChangeKind::Inserted {
        return Ok(Vec::new());
    }
    let data = case.document(&[])?;
    let is_told = data.as_ref().is_some_and(|data| {
        data.get_str("event")
            .is_ok_and(|event| ["ContactStatus", "Hangup"].contains(&event))
    });
    Ok(match is_told {
        true => event("watch.pbxevents", case.by_id(), [("data", data)]),
        false => Vec::new(),
    })
}

const AGENT_FIELDS: &[&str] = &["agentId", "departmentId"];
