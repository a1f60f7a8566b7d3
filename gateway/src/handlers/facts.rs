//! Facts that rules read: from memory, or from the store, asked once however many wait.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use store::{Room, User};

use super::core::{Core, FactFlights, now};
use crate::{
    metrics,
    state::known::{Asked, Fact, Known},
    upstream::Unknown,
};

impl Core {
    /// A room as rules need it.
    pub(crate) async fn room(self: &Rc<Self>, id: &Arc<str>) -> Result<Option<Arc<Room>>, Unknown> {
        let core = self.clone();
        fact(&self.state.known.rooms, &self.flights.rooms, id, |asked| {
            let id = id.clone();
            async move {
                let answer = core.upstream.room(&id).await.map(|room| room.map(Arc::new));
                learn(&core.state.known.rooms, &id, asked, answer)
            }
        })
        .await
    }

    /// A user as rules need him.
    pub(crate) async fn user(self: &Rc<Self>, id: &Arc<str>) -> Result<Option<Arc<User>>, Unknown> {
        let core = self.clone();
        fact(&self.state.known.users, &self.flights.users, id, |asked| {
            let id = id.clone();
            async move {
                let answer = core.upstream.user(&id).await.map(|user| user.map(Arc::new));
                learn(&core.state.known.users, &id, asked, answer)
            }
        })
        .await
    }

    /// Whether a setting is `true`; a setting that does not exist is off.
    pub(crate) async fn setting_is_on(self: &Rc<Self>, id: &'static str) -> Result<bool, Unknown> {
        let core = self.clone();
        let key = Arc::from(id);
        fact(
            &self.state.known.settings,
            &self.flights.settings,
            &key,
            |asked| async move {
                let value = core.upstream.setting(id).await;
                let answer =
                    value.map(|value| value.and_then(|value| value.as_bool()).unwrap_or(false));
                learn(&core.state.known.settings, id, asked, answer)
            },
        )
        .await
    }
}

async fn fact<V: Clone + 'static, F>(
    known: &RefCell<Known<V>>,
    flights: &FactFlights<V>,
    id: &Arc<str>,
    question: impl FnOnce(Asked) -> F,
) -> Result<V, Unknown>
where
    F: Future<Output = Result<V, Unknown>> + 'static,
{
    let fact = known.borrow().get(id, now());
    metrics::cache_asked(known.borrow().name, !matches!(fact, Fact::Unknown));
    let asked = match fact {
        Fact::Known(value) => return Ok(value),
        Fact::Asked(asked) => asked,
        Fact::Unknown => known.borrow_mut().ask(id, now()),
    };
    flights.ask((id.clone(), asked), || question(asked)).await
}

fn learn<V: Clone>(
    known: &RefCell<Known<V>>,
    id: &str,
    asked: Asked,
    answer: Result<V, Unknown>,
) -> Result<V, Unknown> {
    known.borrow_mut().learn(id, asked, answer.clone().ok());
    answer
}
