//! What a client asks for before anybody is logged in.

use serde_json::json;
use store::{bson::Bson, ejson};

use super::{
    args::Args,
    workspace::{Outcome, Workspace},
};
use crate::errors::unavailable;

impl Workspace {
    /// `[updatedAfter?]`: the public settings, `{_id, value}` each.
    pub(super) async fn public_settings(&self, args: &Args) -> Outcome {
        let settings = self.store.settings().await.map_err(unavailable)?;
        let public = settings
            .iter()
            .filter(|setting| matches!(setting.get("public"), Some(Bson::Boolean(true))));
        let list: Vec<_> = public
            .map(|setting| {
                let value = ejson::value_to_text(setting.get("value").unwrap_or(&Bson::Null));
                format!(
                    r#"{{"_id":{},"value":{value}}}"#,
                    json!(setting.get_str("_id").unwrap_or_default())
                )
            })
            .collect();
        shaped(&list.join(","), args)
    }

    /// `[updatedAfter?]`: all permissions with their roles.
    pub(super) async fn permissions(&self, args: &Args) -> Outcome {
        let permissions = self.store.permissions().await.map_err(unavailable)?;
        let list: Vec<_> = permissions
            .into_iter()
            .map(|p| json!({ "_id": p.id, "roles": p.roles }).to_string())
            .collect();
        shaped(&list.join(","), args)
    }
}

fn shaped(list: &str, args: &Args) -> Outcome {
    Ok(Some(match args.date(0)? {
        None => format!("[{list}]"),
        Some(_) => format!(r#"{{"update":[{list}],"remove":[]}}"#),
    }))
}
