//! Settings, permissions, roles and login services.

use store::bson::doc;

use super::case::{Announcement, Ask, Case, event, is_truthy};

pub(super) fn setting(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let setting = match case.is_removed() {
        true => case.trash()?,
        false if case.is_useless() => None,
        false => case.document(&[])?,
    };
    let payload = doc! { "clientAction": case.action() };
    Ok(match setting {
        Some(setting) => event("watch.settings", payload, [("setting", Some(setting))]),
        None => Vec::new(),
    })
}

/// A permission to change one setting takes that setting along: who may see it has changed.
pub(super) fn permission(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let permission = match case.is_removed() {
        true => {
            let mut nobodys = case.only_id();
            nobodys.insert("roles", Vec::<String>::new());
            nobodys
        }
        false if case.is_useless() => return Ok(Vec::new()),
        false => match case.document(&[])? {
            Some(permission) => permission,
            None => return Ok(Vec::new()),
        },
    };
    let setting = match (permission.get_str("level"), permission.get_str("settingId")) {
        (Ok("settings"), Ok(id)) => case
            .known
            .setting
            .clone()
            .ok_or_else(|| Ask::Setting(id.to_owned()))?,
        _ => None,
    };
    let payload = doc! { "clientAction": case.action() };
    let mut events = event("permission.changed", payload, [("data", Some(permission))]);
    if let Some(setting) = setting
        && !setting.get("hidden").is_some_and(is_truthy)
    {
        let payload = doc! { "clientAction": "updated" };
        events.extend(event(
            "watch.settings",
            payload,
            [("setting", Some(setting))],
        ));
    }
    Ok(events)
}

pub(super) fn role(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let (action, role) = match case.is_removed() {
        true => {
            let mut gone = case.only_id();
            gone.insert("name", case.change.id.clone());
            ("removed", Some(gone))
        }
        false if case.is_useless() => ("changed", None),
        false => ("changed", case.document(&[])?),
    };
    let payload = doc! { "clientAction": action };
    Ok(match role {
        Some(role) => event("watch.roles", payload, [("role", Some(role))]),
        None => Vec::new(),
    })
}

/// Never with its secret.
pub(super) fn login_service(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let data = match case.is_removed() {
        true => None,
        false => match case.document(&[])? {
            Some(mut service) => {
                service.remove("secret");
                Some(service)
            }
            None => return Ok(Vec::new()),
        },
    };
    Ok(event(
        "watch.loginServiceConfiguration",
        case.by_id(),
        [("data", data)],
    ))
}
