//! What rules look at and what they say: a change, what is known beside it, questions and events.

use std::collections::{BTreeSet, HashMap};

use store::{
    Change, ChangeKind, Collection,
    bson::{Bson, Document},
    project,
};

/// One event to send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Announcement {
    pub(crate) event: &'static str,
    /// Its only argument.
    pub(crate) payload: Document,
}

/// What must be read before a rule can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The document as it is now, cut to these fields (whole if there are none).
    Current(&'static [&'static str]),
    /// What is left of a removed document.
    Trash,
    /// A setting.
    Setting(String),
    /// The names of these users, by id.
    Names(BTreeSet<String>),
}

/// What has been read for one change. `None` was not asked yet; `Some(None)` was looked for in vain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) current: Option<Option<Document>>,
    pub(crate) trash: Option<Option<Document>>,
    pub(crate) setting: Option<Option<Document>>,
    pub(crate) names: Option<HashMap<String, String>>,
}

impl Known {
    /// A feed that has every document knows it without reading.
    pub(crate) fn of_feed(change: &Change) -> Self {
        let document = change.document.clone();
        match change.kind {
            ChangeKind::Removed => Self {
                trash: Some(document),
                ..Self::default()
            },
            _ => Self {
                current: Some(document),
                ..Self::default()
            },
        }
    }
}

/// The settings that rules look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(super) is_read: bool,
    pub(super) hidden_messages: Vec<String>,
    pub(super) use_real_names: bool,
}

impl Facts {
    /// `_id`s of the settings.
    pub(crate) fn ids() -> [Bson; 2] {
        [HIDDEN_MESSAGES.into(), REAL_NAMES.into()]
    }

    /// From those of the settings that exist.
    pub(crate) fn read(settings: &[Document]) -> Self {
        let value = |id: &str| {
            let setting = settings
                .iter()
                .find(|setting| setting.get_str("_id").is_ok_and(|found| found == id));
            setting.and_then(|setting| setting.get("value"))
        };
        let hidden = value(HIDDEN_MESSAGES).and_then(Bson::as_array);
        let hidden = hidden.into_iter().flatten().filter_map(Bson::as_str);
        Self {
            is_read: true,
            hidden_messages: hidden.map(str::to_owned).collect(),
            use_real_names: value(REAL_NAMES) == Some(&Bson::Boolean(true)),
        }
    }

    /// Whether they still are to be read.
    pub(crate) fn are_read(&self) -> bool {
        self.is_read
    }

    /// Whether this change is of one of them: what follows it is judged by the new value.
    pub(crate) fn are_in(change: &Change) -> bool {
        change.collection == Collection::Settings && Self::ids().contains(&change.id)
    }
}

pub(super) const HIDDEN_MESSAGES: &str = "Hide_System_Messages";
pub(super) const REAL_NAMES: &str = "UI_Use_Real_Name";

/// A change and what is known about it, as the rules look at it.
pub(super) struct Case<'a> {
    pub(super) change: &'a Change,
    pub(super) known: &'a Known,
    pub(super) facts: &'a Facts,
}

impl Case<'_> {
    /// `clientAction`.
    pub(super) fn action(&self) -> &'static str {
        match self.change.kind {
            ChangeKind::Inserted => "inserted",
            // Nobody knows a fourth word; that everything may differ shows in the document that comes along.
            ChangeKind::Updated { .. } | ChangeKind::Replaced => "updated",
            ChangeKind::Removed => "removed",
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        self.change.kind == ChangeKind::Removed
    }

    /// Nothing but the time stamp moved.
    pub(super) fn is_useless(&self) -> bool {
        self.is_exactly("_updatedAt")
    }

    /// Whether this is the only field that changed.
    pub(super) fn is_exactly(&self, field: &str) -> bool {
        match &self.change.kind {
            ChangeKind::Updated {
                diff,
                unset,
                truncated,
            } => unset.is_empty() && truncated.is_empty() && diff.keys().eq([field]),
            _ => false,
        }
    }

    /// Whether one of these top-level fields changed, `_id` aside.
    pub(super) fn touches(&self, fields: &[&str]) -> bool {
        let is_wanted = |path: &str| {
            let top = path.split('.').next().unwrap_or_default();
            top != "_id" && fields.contains(&top)
        };
        match &self.change.kind {
            ChangeKind::Updated {
                diff,
                unset,
                truncated,
            } => {
                let paths = diff.keys().chain(unset).chain(truncated);
                paths.map(String::as_str).any(is_wanted)
            }
            _ => match &self.change.document {
                Some(document) => document.keys().map(String::as_str).any(is_wanted),
                None => true,
            },
        }
    }

    /// The document, the change's own if it has one, cut to `fields` (whole if there are none); `None` if it is gone
    /// by now.
    pub(super) fn document(
        &self,
        fields: &'static [&'static str],
    ) -> Result<Option<Document>, Ask> {
        let document = match (&self.change.document, &self.known.current) {
            (Some(document), _) if !self.is_removed() => Some(document),
            (_, Some(current)) => current.as_ref(),
            (_, None) => return Err(Ask::Current(fields)),
        };
        Ok(document.map(|document| match fields {
            [] => document.clone(),
            _ => project(document, fields),
        }))
    }

    /// What is left of the removed document.
    pub(super) fn trash(&self) -> Result<Option<Document>, Ask> {
        let trash = self.known.trash.clone().ok_or(Ask::Trash)?;
        Ok(trash.map(|mut document| {
            // The model layer's own, which the document never had.
            document.remove("_deletedAt");
            document.remove("__collection__");
            document
        }))
    }

    /// What changed, as consumers read it: an array that became shorter is there as a whole under its own path, because
    /// they look for exactly that path (services.md 5.11). A replaced document differs in every field.
    pub(super) fn diff(&self) -> Result<Option<Document>, Ask> {
        match &self.change.kind {
            ChangeKind::Updated {
                diff, truncated, ..
            } => {
                let mut diff = diff.clone();
                if truncated.is_empty() {
                    return Ok(Some(diff));
                }
                let document = self.document(&[])?.unwrap_or_default();
                for path in truncated {
                    let inside = |key: &str| {
                        key.strip_prefix(path.as_str())
                            .is_some_and(|rest| rest.starts_with('.'))
                    };
                    if let Some(array) = at(&document, path) {
                        diff = diff.into_iter().filter(|(key, _)| !inside(key)).collect();
                        diff.insert(path.clone(), array.clone());
                    }
                }
                Ok(Some(diff))
            }
            ChangeKind::Replaced => {
                let mut document = self.document(&[])?.unwrap_or_default();
                document.remove("_id");
                Ok(Some(document))
            }
            ChangeKind::Inserted | ChangeKind::Removed => Ok(None),
        }
    }

    /// An event that begins with `clientAction` and the id.
    pub(super) fn by_id(&self) -> Document {
        let mut payload = Document::new();
        payload.insert("clientAction", self.action());
        payload.insert("id", self.change.id.clone());
        payload
    }

    /// A document of which only the id is left.
    pub(super) fn only_id(&self) -> Document {
        let mut document = Document::new();
        document.insert("_id", self.change.id.clone());
        document
    }
}

/// One event; `members` that are missing stay out, as JavaScript's `undefined` does.
pub(super) fn event<const N: usize>(
    event: &'static str,
    mut payload: Document,
    members: [(&str, Option<Document>); N],
) -> Vec<Announcement> {
    for (name, member) in members {
        if let Some(member) = member {
            payload.insert(name, member);
        }
    }
    vec![Announcement { event, payload }]
}

/// The value at a dotted path through sub-documents and, by their places, through arrays.
pub(super) fn at<'d>(document: &'d Document, path: &str) -> Option<&'d Bson> {
    let (first, below) = path
        .split_once('.')
        .map_or((path, None), |(first, below)| (first, Some(below)));
    let below = below.into_iter().flat_map(|below| below.split('.'));
    below.fold(document.get(first), |value, step| match value? {
        Bson::Document(document) => document.get(step),
        Bson::Array(array) => array.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// As JavaScript judges it.
pub(super) fn is_truthy(value: &Bson) -> bool {
    match value {
        Bson::Null | Bson::Undefined | Bson::Boolean(false) | Bson::Int32(0) | Bson::Int64(0) => {
            false
        }
        Bson::Double(number) => *number != 0.0 && !number.is_nan(),
        Bson::String(text) => !text.is_empty(),
        _ => true,
    }
}
