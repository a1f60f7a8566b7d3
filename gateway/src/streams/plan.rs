//! The event table, ready to be applied.

use hashbrown::HashMap;
use protocol::ddp::ejson;

use super::{
    events::{EVENTS, Reaction, When},
    table::Stream,
    template::{Path, Template},
    topic::TopicRef,
};

/// The plan of every event, by name.
pub(crate) struct Plans(HashMap<&'static str, Plan>);

/// What one event does.
pub(crate) struct Plan {
    pub(crate) first: &'static [Reaction],
    publications: Vec<Saying>,
    pub(crate) last: &'static [Reaction],
    /// Some reaction takes its arguments for JSON.
    pub(crate) looks_into: bool,
}

struct Saying {
    when: Condition,
    stream: Stream,
    key: Template,
    args: Template,
    /// Arguments that must be there besides those in the key: whoever cannot take them apart says nothing.
    needs: Vec<usize>,
}

enum Condition {
    Always,
    Is(Path, &'static str),
    Not(Path, &'static str),
}

/// The names to announce.
pub(crate) fn announced() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().map(|event| event.name)
}

impl Plans {
    pub(crate) fn new() -> Self {
        let plans = EVENTS.iter().map(|event| {
            let publications = event.publications.iter().map(|said| {
                let [key, args] = [said.key, said.args].map(Template::new);
                let in_key: Vec<_> = key.taken_apart().collect();
                let mut needs: Vec<_> = args.taken_apart().collect();
                needs.retain(|index| !in_key.contains(index));
                needs.dedup();
                Saying {
                    when: match said.when {
                        When::Always => Condition::Always,
                        When::Is(path, value) => Condition::Is(Path::new(path), value),
                        When::Not(path, value) => Condition::Not(Path::new(path), value),
                    },
                    stream: said.stream,
                    key,
                    args,
                    needs,
                }
            });
            let mut reactions = event.first.iter().chain(event.last);
            let plan = Plan {
                looks_into: reactions.any(|reaction| !reaction.is_passed_on()),
                first: event.first,
                publications: publications.collect(),
                last: event.last,
            };
            (event.name, plan)
        });
        Self(plans.collect())
    }

    pub(crate) fn get(&self, event: &str) -> Option<&Plan> {
        self.0.get(event)
    }
}

impl Plan {
    /// Gives `publish` the topic and the argument template of everything that is to be said; `key` is scratch, so that a
    /// topic which nobody follows costs no text.
    pub(crate) fn say(
        &self,
        args: &str,
        key: &mut String,
        mut publish: impl FnMut(TopicRef<'_>, &Template),
    ) {
        for saying in &self.publications {
            let applies = match &saying.when {
                Condition::Always => true,
                Condition::Is(path, value) => path.find(args) == Some(value),
                Condition::Not(path, value) => path.find(args) != Some(value),
            };
            let is_there =
                |index: &usize| ejson::at(args, *index, &[]).is_some_and(|value| value != "null");
            if applies && saying.key.key(args, key) && saying.needs.iter().all(is_there) {
                let topic = TopicRef {
                    stream: saying.stream,
                    event: key,
                };
                publish(topic, &saying.args);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
