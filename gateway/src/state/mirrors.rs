//! Records of the monolith that are published as they are: login services and client versions (streams.md 6.1, 6.2).

use std::collections::BTreeMap;

use protocol::ddp::{ejson, encode};

use crate::streams::table::Stream;

/// Documents of one mirror; a monolith has about ten.
const DOCUMENTS_MAX: usize = 1_000;

/// What the monolith told.
#[derive(Default)]
pub(crate) struct Mirrors {
    /// Counts what events have changed.
    pub(crate) moved: u64,
    /// More was told than is kept, since [`Self::take_cut`].
    is_cut: bool,
    login_services: Mirror,
    client_versions: Mirror,
}

/// Fields as raw JSON objects, by id.
type Mirror = BTreeMap<String, String>;

/// Where a mirror comes from, and what its documents are called.
pub(crate) struct Source {
    pub(crate) stream: Stream,
    collection: &'static str,
    /// The action that tells all of it.
    pub(crate) action: &'static str,
}

pub(crate) const LOGIN_SERVICES: Source = Source {
    stream: Stream::LoginServices,
    collection: "meteor_accounts_loginServiceConfiguration",
    action: "meteor.getLoginServiceConfiguration",
};

pub(crate) const CLIENT_VERSIONS: Source = Source {
    stream: Stream::ClientVersions,
    collection: "meteor_autoupdate_clientVersions",
    action: "meteor.getAutoUpdateClientVersions",
};

impl Source {
    fn of(stream: Stream) -> &'static Self {
        match stream {
            Stream::LoginServices => &LOGIN_SERVICES,
            _ => &CLIENT_VERSIONS,
        }
    }

    /// The documents in an answer to [`Self::action`]; one more than fit says that there are more.
    fn read(&self, answer: &str) -> Mirror {
        let seen = DOCUMENTS_MAX + 1;
        if self.stream == Stream::LoginServices {
            let records = ejson::elements(answer).filter_map(|record| {
                let id = ejson::field(record, "_id").and_then(ejson::string)?;
                Some((id.into_owned(), record.to_owned()))
            });
            records.take(seen).collect()
        } else {
            let records = ejson::fields(answer).take(seen);
            records
                .map(|(id, record)| (id.into_owned(), without_id(record)))
                .collect()
        }
    }
}

impl Mirrors {
    /// The `added` messages of everything that is there.
    pub(crate) fn documents(&self, stream: Stream) -> Vec<String> {
        let source = Source::of(stream);
        let mirror = match stream {
            Stream::LoginServices => &self.login_services,
            _ => &self.client_versions,
        };
        mirror
            .iter()
            .map(|(id, fields)| encode::added(source.collection, id, fields))
            .collect()
    }

    /// Takes the whole of a mirror; the messages that say what is new.
    pub(crate) fn fill(&mut self, source: &Source, answer: &str) -> Vec<String> {
        let told = source.read(answer);
        let gone: Vec<_> = self
            .mirror(source)
            .keys()
            .filter(|id| !told.contains_key(*id))
            .cloned()
            .collect();
        let mut messages: Vec<_> = gone
            .iter()
            .filter_map(|id| self.put(source, id, None))
            .collect();
        messages.extend(
            told.into_iter()
                .filter_map(|(id, fields)| self.put(source, &id, Some(fields))),
        );
        messages
    }

    /// Enters one document (`None`: it is gone); the message that says so, if it is news.
    pub(crate) fn put(
        &mut self,
        source: &Source,
        id: &str,
        fields: Option<String>,
    ) -> Option<String> {
        let mirror = self.mirror(source);
        let known = mirror.get(id);
        let Some(fields) = fields else {
            mirror.remove(id)?;
            return Some(encode::removed(source.collection, id));
        };
        if known == Some(&fields) {
            return None;
        }
        if known.is_none() && mirror.len() >= DOCUMENTS_MAX {
            self.is_cut = true;
            return None;
        }
        let message = match known {
            Some(_) => encode::changed(source.collection, id, &fields),
            None => encode::added(source.collection, id, &fields),
        };
        mirror.insert(id.to_owned(), fields);
        Some(message)
    }

    /// Whether more was told than is kept.
    pub(crate) fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.is_cut)
    }

    fn mirror(&mut self, source: &Source) -> &mut Mirror {
        match source.stream {
            Stream::LoginServices => &mut self.login_services,
            _ => &mut self.client_versions,
        }
    }
}

/// A record as fields of a document: its id stands elsewhere.
pub(crate) fn without_id(record: &str) -> String {
    let mut fields = String::with_capacity(record.len());
    for (name, value) in ejson::fields(record).filter(|(name, _)| name != "_id") {
        fields.push(if fields.is_empty() { '{' } else { ',' });
        encode::push_string(&mut fields, &name);
        fields.push(':');
        fields.push_str(value);
    }
    if fields.is_empty() {
        fields.push('{');
    }
    fields.push('}');
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_is_told() {
        let mut mirrors = Mirrors::default();
        let versions = r#"{"web.browser":{"_id":"web.browser","version":"a"}}"#;
        let added = mirrors.fill(&CLIENT_VERSIONS, versions);
        assert_eq!(added.len(), 1);
        assert!(
            added[0].contains(r#""fields":{"version":"a"}"#),
            "{added:?}"
        );
        assert_eq!(mirrors.fill(&CLIENT_VERSIONS, versions).len(), 0);
        assert_eq!(mirrors.documents(Stream::ClientVersions), added);
        assert!(mirrors.fill(&CLIENT_VERSIONS, "{}")[0].contains("removed"));
        assert_eq!(mirrors.documents(Stream::ClientVersions).len(), 0);
    }

    #[test]
    fn what_does_not_fit_is_known_to_be_missing() {
        let records = |count| {
            let records: Vec<_> = (0..count)
                .map(|id| format!(r#"{{"_id":"{id}"}}"#))
                .collect();
            format!("[{}]", records.join(","))
        };
        let mut mirrors = Mirrors::default();
        mirrors.fill(&LOGIN_SERVICES, &records(DOCUMENTS_MAX));
        assert!(!mirrors.take_cut());
        mirrors.fill(&LOGIN_SERVICES, &records(DOCUMENTS_MAX + 1));
        assert!(mirrors.take_cut() && !mirrors.take_cut());
        mirrors.put(&LOGIN_SERVICES, "one more", Some("{}".into()));
        assert!(mirrors.take_cut());
        assert_eq!(
            mirrors.documents(Stream::LoginServices).len(),
            DOCUMENTS_MAX
        );
    }
}
