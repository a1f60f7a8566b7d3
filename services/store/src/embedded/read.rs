//! Lookups in a snapshot of the database.

use bson::{Bson, DateTime, RawDocument, RawDocumentBuf};
use redb::{ReadTransaction, ReadableTable};

use crate::collection::Collection;
use crate::embedded::apply;
use crate::embedded::failure::failed;
use crate::embedded::schema::{self, HISTORY, JOINED, MEMBERS, TOKENS, USERNAMES, WRITTEN};
use crate::fields::{login_tokens, project};
use crate::lookup::{CONNECTED, Lookup};
use crate::{Error, raw};

/// One snapshot: everything it finds was true at the same moment.
pub(super) struct Reader {
    read: ReadTransaction,
}

impl Reader {
    pub(super) fn new(read: ReadTransaction) -> Self {
        Self { read }
    }

    /// The documents `lookup` names, cut to `fields`. The match over all lookups is the table of how each is found;
    /// what is few in an embedded workspace (users, rooms, teams) is searched one by one.
    pub(super) fn find(
        &self,
        lookup: Lookup<'_>,
        fields: &[&str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let collection = lookup.collection();
        let found = match lookup {
            Lookup::All(_) => self.scan(collection, |_| true)?,
            Lookup::Id(_, id) => self.by_ids(collection, [id])?,
            Lookup::Ids(_, ids) => self.by_ids(collection, ids.iter().map(String::as_str))?,
            Lookup::UserByTokenHash(hashed) => self.users_with_tokens([hashed])?,
            Lookup::UsersByTokenHashes(hashes) => self.users_with_tokens(hashes.iter().copied())?,
            Lookup::UserWithToken { user, hashed } => {
                let mut users = self.by_ids(collection, [user])?;
                users.retain(|user| holds_token(user, hashed));
                users
            }
            Lookup::UserByUsername(username) => {
                let usernames = self.read.open_table(USERNAMES).map_err(failed)?;
                let id = usernames.get(username).map_err(failed)?;
                self.by_ids(collection, id.as_ref().map(|id| id.value()))?
            }
            Lookup::UsersWithRoles(roles) => {
                let has_one = |user: &RawDocument| {
                    raw::texts(user, "roles")
                        .iter()
                        .any(|role| roles.contains(role))
                };
                let mut users = self.scan(collection, has_one)?;
                users.sort_by_key(|user| raw::text(user, "username"));
                users
            }
            Lookup::RoomByName(name) => self.scan(collection, |room| {
                room.get_str("name").is_ok_and(|found| found == name)
            })?,
            Lookup::SubscriptionOf { room, user } => {
                let members = self.read.open_table(MEMBERS).map_err(failed)?;
                let id = members.get((room, user)).map_err(failed)?;
                self.by_ids(collection, id.as_ref().map(|id| id.value()))?
            }
            Lookup::SubscriptionsOfUser(user) => self.by_pairs(JOINED, user, None)?,
            Lookup::SubscriptionsOfUserIn { user, rooms } => {
                let members = self.read.open_table(MEMBERS).map_err(failed)?;
                let mut ids = Vec::new();
                for room in rooms {
                    let id = members.get((room.as_str(), user)).map_err(failed)?;
                    ids.extend(id.map(|id| id.value().to_owned()));
                }
                self.by_ids(collection, ids.iter().map(String::as_str))?
            }
            Lookup::SubscriptionsOfRoom { room, limit } => {
                let mut all = self.by_pairs(MEMBERS, room, None)?;
                all.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
                all
            }
            Lookup::SubscriptionsOfRoomExcept { room, user } => {
                self.by_pairs(MEMBERS, room, Some(user))?
            }
            Lookup::TeamMember { team, user } => {
                let is = |member: &RawDocument, key, text| {
                    member.get_str(key).is_ok_and(|found| found == text)
                };
                self.scan(collection, |member| {
                    is(member, "teamId", team) && is(member, "userId", user)
                })?
            }
            Lookup::MessagesBefore {
                room,
                before,
                limit,
            } => {
                let history = self.read.open_table(HISTORY).map_err(failed)?;
                let before = before.map_or(i64::MAX, DateTime::timestamp_millis);
                let range = history
                    .range((room, i64::MIN, "")..(room, before, ""))
                    .map_err(failed)?;
                self.shown(range.rev(), room, limit, false)?
            }
            Lookup::MessagesAfter { room, after, limit } => {
                let history = self.read.open_table(HISTORY).map_err(failed)?;
                let range = history
                    .range((room, after.timestamp_millis().saturating_add(1), "")..)
                    .map_err(failed)?;
                self.shown(range, room, limit, true)?
            }
            Lookup::SessionsUntouchedSince(since) => self.scan(collection, |sessions| {
                connections(sessions).any(|connection| {
                    connection
                        .get_datetime("_updatedAt")
                        .is_ok_and(|touched| touched <= since)
                })
            })?,
            Lookup::SessionsBehind { after, limit } => {
                self.behind(collection, after, limit, |sessions| {
                    connections(sessions).next().is_some()
                })?
            }
            Lookup::UsersThoughtConnected { after, limit } => {
                self.behind(collection, after, limit, |user| {
                    let connection = raw::text(user, "statusConnection");
                    connection.is_some_and(|connection| CONNECTED.contains(&connection.as_str()))
                })?
            }
            Lookup::ExpiringStatuses { limit } => {
                let expires = |user: &RawDocument| user.get_datetime("statusExpiresAt").ok();
                let mut users = self.scan(collection, |user| expires(user).is_some())?;
                users.sort_by_key(|user| expires(user));
                users.truncate(limit as usize);
                users
            }
            Lookup::SessionsOfNode(node) => self.scan(collection, |sessions| {
                has_connection(sessions, "instanceId", node)
            })?,
            Lookup::SessionsOfNodesExcept(live) => self.scan(collection, |sessions| {
                let connections =
                    connections(sessions).filter_map(|connection| raw::document(connection).ok());
                connections
                    .map(Bson::Document)
                    .any(|connection| apply::is_lost(&connection, live))
            })?,
            // Written by the monolith, which never runs on an embedded store.
            Lookup::NewestStatistics => Vec::new(),
        };
        if fields.is_empty() {
            return Ok(found);
        }
        found
            .iter()
            .map(|document| raw::encode(&project(&raw::document(document)?, fields)))
            .collect()
    }

    fn scan(
        &self,
        collection: Collection,
        wanted: impl Fn(&RawDocument) -> bool,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let mut found = Vec::new();
        for entry in self
            .read
            .open_table(schema::documents(collection))
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (_, bytes) = entry.map_err(failed)?;
            let document = raw::checked(bytes.value())?;
            if wanted(document) {
                found.push(document.to_owned());
            }
        }
        Ok(found)
    }

    /// Documents whose ids come behind `after`, in their order.
    fn behind(
        &self,
        collection: Collection,
        after: &str,
        limit: u32,
        wanted: impl Fn(&RawDocument) -> bool,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let mut found = self.scan(collection, |document| {
            document.get_str("_id").is_ok_and(|id| id > after) && wanted(document)
        })?;
        found.truncate(limit as usize);
        Ok(found)
    }

    fn by_ids<'i>(
        &self,
        collection: Collection,
        ids: impl IntoIterator<Item = &'i str>,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let documents = self
            .read
            .open_table(schema::documents(collection))
            .map_err(failed)?;
        let mut found = Vec::new();
        for id in ids {
            if let Some(bytes) = documents.get(id).map_err(failed)? {
                found.push(raw::checked(bytes.value())?.to_owned());
            }
        }
        Ok(found)
    }

    fn users_with_tokens<'h>(
        &self,
        hashes: impl IntoIterator<Item = &'h str>,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let tokens = self.read.open_table(TOKENS).map_err(failed)?;
        let mut ids = Vec::new();
        for hashed in hashes {
            ids.extend(
                tokens
                    .get(hashed)
                    .map_err(failed)?
                    .map(|id| id.value().to_owned()),
            );
        }
        ids.sort_unstable();
        ids.dedup();
        self.by_ids(Collection::Users, ids.iter().map(String::as_str))
    }

    /// Subscriptions whose first half of the pair is `first` and whose second is not `except`.
    fn by_pairs(
        &self,
        index: redb::TableDefinition<'static, (&'static str, &'static str), &'static str>,
        first: &str,
        except: Option<&str>,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let index = self.read.open_table(index).map_err(failed)?;
        let mut ids = Vec::new();
        for entry in index.range((first, "")..).map_err(failed)? {
            let (pair, id) = entry.map_err(failed)?;
            let (found, second) = pair.value();
            if found != first {
                break;
            }
            if Some(second) != except {
                ids.push(id.value().to_owned());
            }
        }
        self.by_ids(Collection::Subscriptions, ids.iter().map(String::as_str))
    }

    /// The first `limit` messages of a room along `entries`, which go forwards or back in time, that are not hidden. Those
    /// of one millisecond come in the order of writing.
    fn shown(
        &self,
        entries: impl Iterator<Item = HistoryEntry>,
        room: &str,
        limit: u32,
        forwards: bool,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let written = self.read.open_table(WRITTEN).map_err(failed)?;
        let mut found = Vec::new();
        let mut moment: Vec<(u64, RawDocumentBuf)> = Vec::new();
        let mut at = None;
        let mut end_moment = |moment: &mut Vec<(u64, RawDocumentBuf)>| {
            moment.sort_by_key(|(number, _)| *number);
            if !forwards {
                moment.reverse();
            }
            found.extend(moment.drain(..).map(|(_, message)| message));
            found.len() >= limit as usize
        };
        for entry in entries {
            let (key, _) = entry.map_err(failed)?;
            let (of_room, ms, id) = key.value();
            if of_room != room {
                break;
            }
            if at != Some(ms) && end_moment(&mut moment) {
                break;
            }
            at = Some(ms);
            let number = written.get(id).map_err(failed)?;
            let number = number.map_or(0, |number| number.value());
            let messages = self.by_ids(Collection::Messages, [id])?;
            moment.extend(
                messages
                    .into_iter()
                    .filter(|message| !message.get_bool("_hidden").unwrap_or(false))
                    .map(|message| (number, message)),
            );
        }
        end_moment(&mut moment);
        found.truncate(limit as usize);
        Ok(found)
    }
}

type HistoryEntry = Result<
    (
        redb::AccessGuard<'static, (&'static str, i64, &'static str)>,
        redb::AccessGuard<'static, ()>,
    ),
    redb::StorageError,
>;

fn holds_token(user: &RawDocument, hashed: &str) -> bool {
    let is = |token: &RawDocument, key| token.get_str(key).is_ok_and(|found| found == hashed);
    login_tokens(user).any(|token| is(token, "hashedToken") || is(token, "token"))
}

fn connections(sessions: &RawDocument) -> impl Iterator<Item = &RawDocument> {
    let connections = sessions.get_array("connections").ok().into_iter().flatten();
    connections.filter_map(|connection| connection.ok()?.as_document())
}

fn has_connection(sessions: &RawDocument, key: &str, text: &str) -> bool {
    connections(sessions).any(|connection| connection.get_str(key).is_ok_and(|found| found == text))
}
