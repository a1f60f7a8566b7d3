//! `watch.inquiries {clientAction, inquiry, diff?}` (streams.md 8.4, 12): who waits for an omnichannel agent.

use std::borrow::Cow;

use protocol::ddp::ejson;

use super::line::Line;

/// The event, as far as its outputs need it.
pub(crate) struct Inquiry<'a> {
    args: &'a str,
    /// Raw JSON object.
    inquiry: &'a str,
    action: &'a str,
    id: Cow<'a, str>,
}

impl<'a> Inquiry<'a> {
    /// `None` without an action that is known or an id.
    pub(crate) fn parse(args: &'a str) -> Option<Self> {
        let inquiry = ejson::at(args, 0, &["inquiry"]).filter(|text| text.starts_with('{'))?;
        let action = ejson::at(args, 0, &["clientAction"])?;
        let id = ejson::field(inquiry, "_id").and_then(ejson::string)?;
        Some(Self {
            args,
            inquiry,
            action,
            id,
        })
    }

    /// Everything that is said on this line; on one that is not known, what either form says. `say` gets the parts of an
    /// event's name, and makes the arguments if somebody wants them.
    pub(crate) fn say(&self, line: Line, mut say: impl FnMut(&[&str], &dyn Fn() -> String)) {
        say(&[&self.id], &|| self.whole());
        let Some(kind) = self.kind().filter(|_| !self.is_only_locked()) else {
            return;
        };
        let args = || format!("[{{\"type\":\"{kind}\"{}}}]", self.members(|_| true));
        let department = self.text(&["inquiry", "department"]);
        let agent = self.text(&["inquiry", "defaultAgent", "agentId"]);
        let mut is_public = false;
        if let Some(department) = &department {
            say(&["department/", department], &args);
        }
        if line.may_be_new() {
            if let Some(agent) = &agent {
                say(&["agent/", agent], &args);
            }
            is_public |= department.is_none() && agent.is_none();
        }
        if line.may_be_old() {
            let moved = ejson::at(self.args, 0, &["diff", "department"]).is_some();
            let is_updated = self.action == "\"updated\"";
            is_public |= department.is_none() || is_updated && !moved;
        }
        if is_public {
            say(&["public"], &args);
        }
    }

    /// What is said under the inquiry's own id.
    fn whole(&self) -> String {
        let id = protocol::ddp::encode::quoted(&self.id);
        let rest = if self.action == "\"removed\"" {
            String::new()
        } else {
            self.members(|name| name != "_id")
        };
        format!("[{{\"_id\":{id}{rest},\"clientAction\":{}}}]", self.action)
    }

    fn text(&self, path: &[&str]) -> Option<Cow<'a, str>> {
        let found = ejson::at(self.args, 0, path).and_then(ejson::string);
        found.filter(|text| !text.is_empty())
    }

    fn kind(&self) -> Option<&'static str> {
        match self.action {
            "\"inserted\"" => Some("added"),
            "\"updated\"" => Some("changed"),
            "\"removed\"" => Some("removed"),
            _ => None,
        }
    }

    /// An agent looks at it: that alone is no news for the queues.
    fn is_only_locked(&self) -> bool {
        let diff = ejson::at(self.args, 0, &["diff"]).unwrap_or("{}");
        let lock = ["_updatedAt", "locked", "lockedAt"];
        self.action == "\"updated\""
            && ejson::fields(diff).count() == lock.len()
            && lock.iter().all(|name| ejson::field(diff, name).is_some())
    }

    /// Members of the inquiry, each behind a comma.
    fn members(&self, meant: impl Fn(&str) -> bool) -> String {
        let mut text = String::with_capacity(self.inquiry.len());
        for (name, value) in ejson::fields(self.inquiry).filter(|(name, _)| meant(name)) {
            text.push(',');
            protocol::ddp::encode::push_string(&mut text, &name);
            text.push(':');
            text.push_str(value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Event and arguments of all that is said.
    fn all(line: Line, args: &str) -> Vec<(String, String)> {
        let mut said = Vec::new();
        let inquiry = Inquiry::parse(args).unwrap();
        inquiry.say(line, |event, args| said.push((event.concat(), args())));
        said
    }

    /// The events beside the inquiry's own.
    fn queues(line: Line, args: &str) -> Vec<String> {
        let mut events: Vec<_> = all(line, args).into_iter().map(|said| said.0).collect();
        assert_eq!(events.remove(0), "i");
        events
    }

    fn check(args: &str, old: &[&str], new: &[&str]) {
        assert_eq!(queues(Line::Old, args), old, "{args}");
        assert_eq!(queues(Line::Newest, args), new, "{args}");
        let mut both: Vec<_> = old.iter().chain(new).map(|text| text.to_string()).collect();
        both.sort_unstable();
        both.dedup();
        let mut unknown = queues(Line::Unknown, args);
        unknown.sort_unstable();
        assert_eq!(unknown, both, "{args}");
    }

    #[test]
    fn each_queue_hears_of_an_inquiry_by_the_rules_of_its_line() {
        check(
            r#"[{"clientAction":"inserted","inquiry":{"_id":"i"}}]"#,
            &["public"],
            &["public"],
        );
        check(
            r#"[{"clientAction":"inserted","inquiry":{"_id":"i","defaultAgent":{"agentId":"a"}}}]"#,
            &["public"],
            &["agent/a"],
        );
        check(
            r#"[{"clientAction":"inserted","inquiry":{"_id":"i","department":"d","defaultAgent":{"agentId":"a"}}}]"#,
            &["department/d"],
            &["department/d", "agent/a"],
        );
        check(
            r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d"},"diff":{"status":"taken"}}]"#,
            &["department/d", "public"],
            &["department/d"],
        );
        check(
            r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d"},"diff":{"department":"d"}}]"#,
            &["department/d"],
            &["department/d"],
        );
        check(
            r#"[{"clientAction":"removed","inquiry":{"_id":"i","department":"d"}}]"#,
            &["department/d"],
            &["department/d"],
        );
        check(
            r#"[{"clientAction":"updated","inquiry":{"_id":"i"},"diff":{"lockedAt":{"$date":1},"locked":true,"_updatedAt":{"$date":1}}}]"#,
            &[],
            &[],
        );
    }

    #[test]
    fn what_is_said_is_the_inquiry_with_its_action() {
        let args = r#"[{"clientAction":"updated","inquiry":{"status":"queued","_id":"i"}}]"#;
        let said = all(Line::Newest, args);
        let expected = r#"[{"_id":"i","status":"queued","clientAction":"updated"}]"#;
        assert_eq!(said[0].1, expected);
        let expected = r#"[{"type":"changed","status":"queued","_id":"i"}]"#;
        assert_eq!(said[1].1, expected);
        let args = r#"[{"clientAction":"removed","inquiry":{"_id":"i","status":"taken"}}]"#;
        let said = all(Line::Newest, args);
        assert_eq!(said[0].1, r#"[{"_id":"i","clientAction":"removed"}]"#);
        let expected = r#"[{"type":"removed","_id":"i","status":"taken"}]"#;
        assert_eq!(said[1].1, expected);
    }
}
