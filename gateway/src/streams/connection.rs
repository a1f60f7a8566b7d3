//! Connections as broadcasts tell of them (gateway.md 1.8).

use protocol::ddp::encode::quoted;

use crate::link::{Connection, User};

/// The connection object; `guest`: the token that `livechat:setUpConnection` has told.
pub(crate) fn object(connection: &Connection, user: Option<&User>, guest: Option<&str>) -> String {
    let mut text = format!(
        "{{\"id\":{},\"instanceId\":{}",
        quoted(&connection.id),
        quoted(&connection.instance)
    );
    if let Some(address) = connection.address {
        let address = address.to_canonical();
        text.push_str(&format!(",\"clientAddress\":\"{address}\""));
    }
    text.push_str(",\"httpHeaders\":");
    text.push_str(&connection.headers);
    if let Some(user) = user {
        text.push_str(&format!(",\"loginToken\":{}", quoted(&user.hashed_token)));
    }
    if let Some(token) = guest {
        text.push_str(&format!(",\"livechatToken\":{}", quoted(token)));
    }
    text.push('}');
    text
}

/// The arguments of `accounts.login`.
pub(crate) fn login(connection: &Connection, user: &User, guest: Option<&str>) -> String {
    format!(
        "[{{\"userId\":{},\"connection\":{}}}]",
        quoted(&user.id),
        object(connection, Some(user), guest)
    )
}

/// The arguments of `accounts.logout`; of somebody who was not logged in, too.
pub(crate) fn logout(connection: &Connection, user: Option<&User>, guest: Option<&str>) -> String {
    let id = user.map_or_else(String::new, |user| {
        format!("\"userId\":{},", quoted(&user.id))
    });
    format!(
        "[{{{id}\"connection\":{}}}]",
        object(connection, user, guest)
    )
}
