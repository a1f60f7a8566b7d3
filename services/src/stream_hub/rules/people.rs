//! Users and the processes that serve them.

use store::{
    ChangeKind,
    bson::{Bson, Document},
};

use super::case::{Announcement, Ask, Case, at, event};

pub(super) fn user(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    if case.is_exactly("livechatCount") {
        return Ok(Vec::new());
    }
    let members = match &case.change.kind {
        ChangeKind::Inserted => [
            ("data", case.document(&[])?),
            ("diff", None),
            ("unset", None),
        ],
        ChangeKind::Updated { unset, .. } => {
            let unset = unset.iter().map(|field| (field.clone(), Bson::Int32(1)));
            [
                ("data", None),
                ("diff", case.diff()?),
                ("unset", Some(unset.collect())),
            ]
        }
        ChangeKind::Replaced => [
            ("data", None),
            ("diff", case.diff()?.map(as_an_update)),
            ("unset", Some(Document::new())),
        ],
        ChangeKind::Removed => [("data", None), ("diff", None), ("unset", None)],
    };
    Ok(event("watch.users", case.by_id(), members))
}

pub(super) fn instance(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let data = match case.is_removed() {
        true => Some(case.only_id()),
        false => case.change.document.clone(),
    };
    Ok(event(
        "watch.instanceStatus",
        case.by_id(),
        [("data", data), ("diff", case.diff()?)],
    ))
}

/// What a replaced user would have looked like as an update: the login tokens under exactly the path that consumers
/// look for, to close the sockets of those that are gone, and no other secret.
fn as_an_update(mut user: Document) -> Document {
    let tokens = at(&user, LOGIN_TOKENS).cloned();
    user.remove("services");
    user.insert(LOGIN_TOKENS, tokens.unwrap_or(Bson::Array(Vec::new())));
    user
}

const LOGIN_TOKENS: &str = "services.resume.loginTokens";

#[cfg(test)]
mod tests {
    use store::bson::doc;

    use super::*;

    #[test]
    fn a_replaced_user_without_tokens_has_none_left() {
        let user = doc! { "name": "x", "services": { "password": { "bcrypt": "secret" } } };
        let expected = doc! { "name": "x", LOGIN_TOKENS: [] };
        assert_eq!(as_an_update(user), expected);
    }
}
