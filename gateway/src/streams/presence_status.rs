//! `presence.status({user})` (streams.md 8.2, 12): the user's own data, everybody's `user-status`.

use std::borrow::Cow;

use protocol::ddp::ejson;

use super::flag::may_be_set;

/// The event, as far as its outputs need it.
pub(crate) struct PresenceStatus<'a> {
    args: &'a str,
    pub(crate) id: Cow<'a, str>,
    code: u8,
}

impl<'a> PresenceStatus<'a> {
    /// `None` without a user, a name or a known status: nothing is said then.
    pub(crate) fn parse(args: &'a str) -> Option<Self> {
        let text = |name| ejson::at(args, 0, &["user", name]).and_then(ejson::string);
        text("username").filter(|name| !name.is_empty())?;
        let code = match &*text("status")? {
            "offline" | "disabled" => 0,
            "online" => 1,
            "away" => 2,
            "busy" => 3,
            _ => return None,
        };
        let id = text("_id")?;
        Some(Self { args, id, code })
    }

    /// The arguments of the user's own `userData`.
    pub(crate) fn data(&self) -> String {
        let id = self.or_null("_id");
        let mut diff = format!("\"status\":{}", self.or_null("status"));
        let mut unset = "";
        match self.field("statusText") {
            None | Some("null" | "\"\"") => unset = "\"statusText\":1",
            Some(text) => diff.push_str(&format!(",\"statusText\":{text}")),
        }
        for name in ["statusSource", "statusExpiresAt"] {
            if let Some(value) = self.field(name).filter(|value| *value != "null") {
                diff.push_str(&format!(",\"{name}\":{value}"));
            }
        }
        format!("[{{\"type\":\"updated\",\"id\":{id},\"diff\":{{{diff}}},\"unset\":{{{unset}}}}}]")
    }

    /// The arguments of everybody's `user-status`; `None` for users whose presence is restricted.
    pub(crate) fn tuple(&self) -> Option<String> {
        if may_be_set(ejson::at(self.args, 0, &["hasVisibilityRestrictions"])) {
            return None;
        }
        let mut tuple = format!(
            "[[{},{},{},{},{},{}",
            self.or_null("_id"),
            self.or_null("username"),
            self.code,
            self.or_null("statusText"),
            self.or_null("name"),
            self.or_null("roles"),
        );
        self.push_source(&mut tuple);
        tuple.push_str("]]");
        Some(tuple)
    }

    /// His name, raw JSON.
    pub(crate) fn username(&self) -> &'a str {
        self.or_null("username")
    }

    /// The tuple for those who watch him.
    pub(crate) fn watched(&self) -> String {
        let (name, text) = (self.username(), self.or_null("statusText"));
        let mut tuple = format!("[{name},{},{text}", self.code);
        self.push_source(&mut tuple);
        tuple.push(']');
        tuple
    }

    /// Newer presence services know source and expiry.
    fn push_source(&self, tuple: &mut String) {
        if self.field("statusSource").is_some() || self.field("statusExpiresAt").is_some() {
            let (source, expiry) = (
                self.or_null("statusSource"),
                self.or_null("statusExpiresAt"),
            );
            tuple.push_str(&format!(",{source},{expiry}"));
        }
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        ejson::at(self.args, 0, &["user", name])
    }

    fn or_null(&self, name: &str) -> &'a str {
        self.field(name).unwrap_or("null")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_missing_null_or_empty_is_unset() {
        for text in ["", r#","statusText":null"#, r#","statusText":"""#] {
            let args = format!(
                r#"[{{"user":{{"_id":"u","username":"bob","status":"away","statusSource":null{text}}}}}]"#
            );
            assert_eq!(
                PresenceStatus::parse(&args).unwrap().data(),
                r#"[{"type":"updated","id":"u","diff":{"status":"away"},"unset":{"statusText":1}}]"#
            );
        }
    }

    #[test]
    fn who_watches_gets_a_tuple_as_long_as_is_known() {
        for (more, expected) in [
            ("", r#"["bob",2,null]"#),
            (r#","statusText":"lunch""#, r#"["bob",2,"lunch"]"#),
            (r#","statusText":"""#, r#"["bob",2,""]"#),
            (
                r#","statusText":"lunch","statusExpiresAt":{"$date":9}"#,
                r#"["bob",2,"lunch",null,{"$date":9}]"#,
            ),
        ] {
            let args =
                format!(r#"[{{"user":{{"_id":"u","username":"bob","status":"away"{more}}}}}]"#);
            assert_eq!(PresenceStatus::parse(&args).unwrap().watched(), expected);
        }
        let args = r#"[{"user":{"_id":"u","username":"","status":"away"}}]"#;
        assert!(PresenceStatus::parse(args).is_none());
    }
}
