//! What rules ask for, read from the store: once per kind of question and batch, whatever the number of changes.

use std::collections::HashMap;

use store::{
    Change, Collection, Error, Store,
    bson::{Bson, Document},
};

use super::{
    metrics,
    rules::{Announcement, Ask, Facts, Known, judge},
};

/// The announcements of some changes, each with the place of its change. With `known` a feed says what it knows already.
///
/// # Errors
/// The store did not answer; nothing has been decided.
pub(super) async fn settle(
    store: &Store,
    changes: &[&Change],
    facts: &Facts,
    known: impl Fn(&Change) -> Known,
) -> Result<Vec<Vec<Announcement>>, Error> {
    let mut known: Vec<Known> = changes.iter().map(|change| known(change)).collect();
    let mut settled: Vec<Option<Vec<Announcement>>> = vec![None; changes.len()];
    loop {
        let mut asked: HashMap<Question, Vec<(usize, Vec<Bson>)>> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            if settled[at].is_some() {
                continue;
            }
            match judge(change, &known[at], facts) {
                Ok(announcements) => settled[at] = Some(announcements),
                Err(ask) => {
                    let (question, ids) = Question::of(change, ask);
                    asked.entry(question).or_default().push((at, ids));
                }
            }
        }
        if asked.is_empty() {
            return Ok(settled.into_iter().flatten().collect());
        }
        for (question, askers) in asked {
            let found = question.answer(store, &askers).await?;
            for (at, ids) in askers {
                question.tell(&mut known[at], &ids, &found);
            }
        }
    }
}

/// Questions that one query answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Current(Collection, &'static [&'static str]),
    Trash(Collection),
    Setting,
    Names,
}

impl Question {
    fn of(change: &Change, ask: Ask) -> (Self, Vec<Bson>) {
        match ask {
            Ask::Current(fields) => (
                Self::Current(change.collection, fields),
                vec![change.id.clone()],
            ),
            Ask::Trash => (Self::Trash(change.collection), vec![change.id.clone()]),
            Ask::Setting(id) => (Self::Setting, vec![id.into()]),
            Ask::Names(users) => (Self::Names, users.into_iter().map(Bson::from).collect()),
        }
    }

    async fn answer(
        self,
        store: &Store,
        askers: &[(usize, Vec<Bson>)],
    ) -> Result<Vec<Document>, Error> {
        metrics::look_up();
        let mut ids: Vec<Bson> = Vec::new();
        for id in askers.iter().flat_map(|(_, ids)| ids) {
            // Few at a time, and an odd `_id` has no order.
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        match self {
            Self::Current(collection, fields) => {
                store.documents_by_id(collection, &ids, fields).await
            }
            Self::Trash(collection) => store.trash(collection, &ids).await,
            Self::Setting => store.documents_by_id(Collection::Settings, &ids, &[]).await,
            Self::Names => {
                store
                    .documents_by_id(Collection::Users, &ids, &["name"])
                    .await
            }
        }
    }

    fn tell(self, known: &mut Known, ids: &[Bson], found: &[Document]) {
        let with_id = |id: &Bson| {
            found
                .iter()
                .find(|document| document.get("_id") == Some(id))
        };
        let first = || ids.first().and_then(with_id).cloned();
        match self {
            Self::Current(..) => known.current = Some(first()),
            Self::Trash(_) => known.trash = Some(first()),
            Self::Setting => known.setting = Some(first()),
            Self::Names => {
                let name = |id: &Bson| {
                    let name = with_id(id)?.get_str("name").ok()?;
                    // Who has none keeps the one that the message has.
                    (!name.is_empty()).then_some((id.as_str()?.to_owned(), name.to_owned()))
                };
                known.names = Some(ids.iter().filter_map(name).collect());
            }
        }
    }
}
