//! The `users` document after a login: one read for all who wait. In a storm of logins a question each would cost the
//! database's driver more than everything else that a login needs, and nobody waits for this document.

use std::{rc::Rc, sync::Arc};

use tokio::sync::oneshot;

use super::core::Core;
use crate::upstream::{Unknown, documents::Waiting};

impl Core {
    /// A user as he gets himself, raw JSON: at once if nobody else is being read, else with all who come meanwhile.
    pub(crate) async fn own_document(
        self: &Rc<Self>,
        user: &Arc<str>,
    ) -> Result<Option<String>, Unknown> {
        let (tell, told) = oneshot::channel();
        let user = user.clone();
        self.documents
            .waiting
            .borrow_mut()
            .push(Waiting { user, tell });
        if !self.documents.is_reading.replace(true) {
            let core = self.clone();
            tokio::task::spawn_local(async move { core.read_documents().await });
        }
        told.await.unwrap_or(Err(Unknown))
    }

    async fn read_documents(&self) {
        loop {
            let now = self.documents.take();
            if now.is_empty() {
                break;
            }
            let users = now.iter().map(|one| one.user.to_string()).collect();
            let answer = self.upstream.user_documents(users).await;
            let mut documents = answer.map(Vec::into_iter);
            for one in now {
                let document = match &mut documents {
                    Ok(documents) => Ok(documents.next().flatten()),
                    Err(Unknown) => Err(Unknown),
                };
                let _ = one.tell.send(document);
            }
        }
        self.documents.is_reading.set(false);
    }
}
