//! Settings: what depends on them, and who is told (streams.md 8.5); the limits of the workspace.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::ddp::ejson;

use super::core::Core;
use crate::{
    state::grants::GroundRef,
    streams::{setting::ChangedSetting, table::Stream, topic::TopicRef},
    upstream::Unknown,
};

/// Pause before settings that could not be read are read again.
const RETRY: Duration = Duration::from_secs(2);

impl Core {
    /// Rules and limits that depend on a setting.
    pub(crate) fn setting_changed(&self, args: &str) {
        let Some(id) = ejson::at(args, 0, &["setting", "_id"]).and_then(ejson::string) else {
            return;
        };
        self.state.known.settings.borrow_mut().forget(&id);
        self.limiter
            .set(&id, ejson::at(args, 0, &["setting", "value"]));
        let mut touched = self.heard_of(GroundRef::Setting(&id));
        if ["Livechat_", "Omnichannel_"]
            .iter()
            .any(|prefix| id.starts_with(prefix))
        {
            touched.extend(self.heard_of(GroundRef::Omnichannel));
        }
        self.touched(touched);
    }

    /// Tells of a setting; the value of an enterprise setting depends on the licence.
    pub(crate) fn publish_setting(self: &Rc<Self>, args: &str, received: Instant) {
        let Some(changed) = ChangedSetting::parse(args) else {
            return;
        };
        if !changed.depends_on_licence() {
            return self.tell_setting(&changed, changed.field("value"), received);
        }
        let core = self.clone();
        tokio::task::spawn_local(async move {
            let params = format!("[{}]", changed.setting);
            let asked = core
                .upstream
                .call("ee-settings.changeSettingValue", &params)
                .await;
            let told = match &asked {
                Ok(Some(value)) => std::str::from_utf8(value).ok(),
                Ok(None) => changed.field("value"),
                Err(_) => changed.field("invalidValue"),
            };
            core.tell_setting(&changed, told, received);
            core.flush();
        });
    }

    fn tell_setting(&self, changed: &ChangedSetting, value: Option<&str>, received: Instant) {
        let tell = |stream, event, args: &dyn Fn() -> String| {
            self.emit(TopicRef { stream, event }, || args().into(), received);
        };
        let args = || changed.args(value);
        if changed.is_public() {
            tell(Stream::NotifyAll, "public-settings-changed", &args);
            let wrapped = || format!("[[\"public-settings-changed\",{}]]", changed.args(value));
            tell(Stream::NotifyAll, "public-info", &wrapped);
        }
        tell(Stream::NotifyLogged, "private-settings-changed", &args);
    }
}

/// Reads the limits at the start and whenever they may have changed unheard; otherwise `watch.settings` moves them.
pub(crate) async fn keep_limits(core: Rc<Core>) {
    loop {
        while read_limits(&core).await == Err(Unknown) {
            tokio::time::sleep(RETRY).await;
        }
        core.wake.limits.notified().await;
    }
}

async fn read_limits(core: &Core) -> Result<(), Unknown> {
    for name in core.limiter.settings() {
        if let Some(value) = core.upstream.setting(&name).await? {
            core.limiter.set(&name, Some(&value.to_string()));
        }
    }
    Ok(())
}
