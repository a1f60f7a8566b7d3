//! The table of services.md 4.6 once more, over a map of fields, beside the engine.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::*, claim};

/// The fields of a user as the table names them; `previousState` in a map of its own.
type Fields = BTreeMap<&'static str, String>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    fields: Fields,
    stash: Option<Fields>,
}

const CLAIM: [&str; 5] = [
    "statusDefault",
    "statusText",
    "statusSource",
    "statusExpiresAt",
    "statusId",
];

fn fields_of(claim: &Claim) -> Fields {
    let values = [
        claim.default.clone(),
        claim.text.clone(),
        claim.source.clone(),
        claim.expires.map(|expires| expires.to_string()),
        claim.id.clone(),
    ];
    CLAIM
        .into_iter()
        .zip(values)
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn model_of(status: &Status) -> Model {
    let mut fields = fields_of(&status.claim);
    fields.extend(status.shown.clone().map(|shown| ("status", shown)));
    fields.extend(
        status
            .connection
            .clone()
            .map(|connection| ("statusConnection", connection)),
    );
    Model {
        fields,
        stash: status.previous.as_ref().map(fields_of),
    }
}

impl Model {
    fn rank(fields: &Fields) -> usize {
        let source = fields.get("statusSource").map(String::as_str);
        ["internal", "manual", "external"]
            .iter()
            .position(|known| Some(*known) == source)
            .unwrap_or(3)
    }

    fn expired(fields: &Fields, now: i64) -> bool {
        fields
            .get("statusExpiresAt")
            .is_some_and(|at| at.parse::<i64>().unwrap() < now)
    }

    fn reset(&mut self) {
        for name in CLAIM {
            self.fields.remove(name);
        }
        self.fields.insert("statusDefault", "online".into());
        self.fields.insert("statusText", String::new());
        self.stash = None;
    }

    /// A row of the table each; false where it says "rejected".
    fn apply(&mut self, input: &Input, now: i64) -> bool {
        match input {
            Input::Clear => self.reset(),
            Input::End(Some(id)) if self.fields.get("statusId") != Some(id) => {
                let waits = self
                    .stash
                    .as_ref()
                    .is_some_and(|stash| stash.get("statusId") == Some(id));
                if waits {
                    self.stash = None;
                }
                return waits;
            }
            Input::End(_) => match self.stash.take() {
                Some(stash) if !Self::expired(&stash, now) => {
                    for gone in [
                        "statusDefault",
                        "statusSource",
                        "statusExpiresAt",
                        "statusId",
                    ] {
                        self.fields.remove(gone);
                    }
                    self.fields.extend(stash);
                }
                _ => self.reset(),
            },
            Input::Set(claim) => {
                let new = fields_of(claim);
                let is_manual = new["statusSource"] == "manual";
                if self
                    .fields
                    .get("statusDefault")
                    .is_some_and(|it| it == "offline")
                    && !is_manual
                {
                    return false;
                }
                let waiting = |fields: &Fields| {
                    let mut stash: Fields = CLAIM
                        .into_iter()
                        .filter_map(|name| Some((name, fields.get(name)?.clone())))
                        .collect();
                    stash.entry("statusText").or_default();
                    stash
                };
                if Self::rank(&new) <= Self::rank(&self.fields) {
                    let old = self.fields.get("statusSource").cloned();
                    let stashes = !is_manual
                        && old.is_some_and(|old| {
                            old != new["statusSource"] || new["statusSource"] == "internal"
                        });
                    if stashes {
                        self.stash = Some(waiting(&self.fields));
                    }
                    if is_manual {
                        self.stash = None;
                    }
                    for name in ["statusExpiresAt", "statusId"] {
                        self.fields.remove(name);
                    }
                    self.fields.extend(new);
                } else {
                    if let Some(stash) = &self.stash
                        && !Self::expired(stash, now)
                        && !(stash.contains_key("statusSource")
                            && Self::rank(&new) <= Self::rank(stash))
                    {
                        return false;
                    }
                    self.stash = Some(waiting(&new));
                }
            }
            _ => {}
        }
        true
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(WORDS.to_vec())
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let source = prop::sample::select(vec!["internal", "manual", "external"]);
    let id = prop::option::of(prop::sample::select(vec!["c1", "c2", "c3"]));
    let text = prop::option::of(prop::sample::select(vec!["", "a", "b"]));
    (word(), source, text, id, prop::option::of(0..4_000i64)).prop_map(
        |(default, source, text, id, expires)| Claim {
            expires,
            ..claim(default, source, text, id)
        },
    )
}

fn any_input() -> impl Strategy<Value = Input> {
    let id = prop::option::of(prop::sample::select(vec!["c1", "c2", "c3"]));
    prop_oneof![
        2 => Just(Input::Recompute),
        6 => any_claim().prop_map(Input::Set),
        4 => id.prop_map(|id| Input::End(id.map(Into::into))),
        1 => Just(Input::Clear),
        2 => Just(Input::Expire),
        2 => (prop::option::of(word()), prop::option::of("[ab]{0,2}"))
            .prop_map(|(default, text)| Input::Choose { default, text }),
    ]
}

fn any_connections() -> impl Strategy<Value = Vec<Option<String>>> {
    prop::collection::vec(word().prop_map(|word| Some(word.to_owned())), 0..4)
}

proptest! {
    #[test]
    fn any_history_is_what_the_table_says(
        is_service: bool,
        history in prop::collection::vec((any_connections(), any_input(), 0..200i64), 1..40),
    ) {
        let (mut status, mut now) = (Status::default(), 0);
        for (connections, input, passed) in history {
            now += passed;
            let scene = Scene { is_service, connections: &connections, now };
            let after = step(&status, scene, &input);
            let mut model = model_of(&status);
            let accepted = match &input {
                Input::Expire if !Model::expired(&model.fields, now) => false,
                Input::Expire => model.apply(&Input::End(None), now),
                other => model.apply(other, now),
            };
            prop_assert_eq!(after.is_some(), accepted, "{:?} on {:?}", input, status);
            let Some(after) = after else { continue };
            let expected = if connections.is_empty() {
                let alone = is_service && matches!(input, Input::Set(_) | Input::Clear);
                if alone { after.claim.default.clone() } else { Some("offline".into()) }
            } else {
                let default = match &input {
                    Input::Choose { default, .. } => *default,
                    _ => after.claim.default.as_deref(),
                };
                let merged = merge_connections(connections.iter().map(Option::as_deref));
                merge_default(merged, default).map(Into::into)
            };
            prop_assert_eq!(&after.shown, &expected);
            if let Input::Choose { default, .. } = &input {
                prop_assert_eq!(after.claim.source.is_some(), default.is_none() && status.claim.source.is_some());
                prop_assert!(after.previous.is_none() || after.previous == status.previous);
            } else {
                let mut written = model_of(&after);
                for shown in ["status", "statusConnection"] {
                    written.fields.remove(shown);
                    model.fields.remove(shown);
                }
                prop_assert_eq!(written, model, "{:?} on {:?}", input, status);
            }
            let quiet = step(&after, scene, &Input::Audit);
            prop_assert_eq!(quiet, None, "an audit finds nothing to mend");
            status = after;
        }
    }
}
