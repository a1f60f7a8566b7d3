//! `watch.settings({clientAction, setting})` (streams.md 8.5).

use protocol::ddp::ejson;

use super::flag::may_be_set;

/// The event, as far as its publications need it.
#[derive(Clone, Debug)]
pub(crate) struct ChangedSetting {
    action: String,
    /// Raw JSON object.
    pub(crate) setting: String,
}

impl ChangedSetting {
    /// `None` where there is nothing to be told.
    pub(crate) fn parse(args: &str) -> Option<Self> {
        let setting =
            ejson::at(args, 0, &["setting"]).filter(|setting| setting.starts_with('{'))?;
        if may_be_set(ejson::field(setting, "hidden")) {
            return None;
        }
        Some(Self {
            action: ejson::at(args, 0, &["clientAction"])
                .unwrap_or("null")
                .to_owned(),
            setting: setting.to_owned(),
        })
    }

    /// Whether the value depends on the licence, which somebody else judges.
    pub(crate) fn depends_on_licence(&self) -> bool {
        self.action != "\"removed\"" && may_be_set(self.field("enterprise"))
    }

    pub(crate) fn is_public(&self) -> bool {
        self.field("public") == Some("true")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        ejson::field(&self.setting, name)
    }

    /// The arguments `[action, setting]` with this value.
    pub(crate) fn args(&self, value: Option<&str>) -> String {
        let editor = self
            .field("editor")
            .filter(|_| self.field("type") == Some("\"color\""));
        let members = [
            ("_id", self.field("_id")),
            ("value", value),
            ("editor", editor),
            ("properties", self.field("properties")),
            ("enterprise", self.field("enterprise")),
            ("requiredOnWizard", self.field("requiredOnWizard")),
        ];
        let mut text = format!("[{},{{", self.action);
        for (name, value) in members {
            if let Some(value) = value {
                if !text.ends_with('{') {
                    text.push(',');
                }
                text.push_str(&format!("\"{name}\":{value}"));
            }
        }
        text.push_str("}]");
        text
    }
}
