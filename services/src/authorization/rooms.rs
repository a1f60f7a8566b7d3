//! Who may see a room (services.md 3.7–3.10): the contract's rules in their order, the first yes wins.
//!
//! A discussion is judged by all rules for itself and, up the chain, for the rooms it belongs to. What a rule needs is read
//! at the same time as what the next one needs, where both will be needed in most cases.

use std::collections::HashSet;

use backplane::{Context, ServiceError};
use store::Room;

use super::{
    Authorization,
    person::Person,
    question::{Asked, Extra, Need},
};
use crate::errors::unavailable;

/// Who looks at a room, and what they bring along.
pub(super) struct Viewer<'a> {
    pub(super) person: Option<Person<'a>>,
    pub(super) extra: Extra,
    pub(super) context: &'a Context,
}

impl Authorization {
    pub(super) async fn can_access(
        &self,
        asked: Asked,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let user = asked.user.as_deref();
        let viewer = self.viewer(user, asked.extra, context);
        let judged = async {
            let room = self.as_stored(asked.room).await?;
            self.opens(room, &viewer).await
        };
        let (known, verdict) = tokio::join!(viewer.is_known(asked.is_bare), judged);
        known.and(verdict)
    }

    /// Like access, but who looks into a public room without being in it needs the right to do that.
    pub(super) async fn can_read(
        &self,
        asked: Asked,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let user = asked.user.as_deref();
        let viewer = self.viewer(user, asked.extra, context);
        let judged = async {
            let room = self.as_stored(asked.room).await?;
            let public = room.as_ref().filter(|room| room.kind == "c");
            let public = public.map(|room| room.id.clone());
            if !self.opens(room, &viewer).await? {
                return Ok(false);
            }
            let (Some(id), Some(person)) = (public, viewer.person.as_ref()) else {
                return Ok(true);
            };
            let look_in = ["preview-c-room"];
            Ok(self.has(person.roles().await?, &look_in, Need::One).await?
                || person.is_member(&id).await?)
        };
        let (known, verdict) = tokio::join!(viewer.is_known(asked.is_bare), judged);
        known.and(verdict)
    }

    pub(super) async fn can_access_id(
        &self,
        id: &str,
        user: Option<&str>,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let mut viewer = self.viewer(user, Extra::default(), context);
        let (room, joined, known) = tokio::join!(
            self.reads.room(id),
            viewer.is_member(id),
            viewer.is_known(true)
        );
        let room = room?;
        if room.is_none() {
            return Ok(false);
        }
        known?;
        // If this is not known it is asked for again by the rule that needs it.
        if let (Some(person), Ok(joined)) = (&mut viewer.person, joined) {
            person.is_known_to_be_member(id, joined);
        }
        self.opens(room, &viewer).await
    }

    /// Whether all of these rooms are open: rooms, memberships and roles in one query each.
    pub(super) async fn can_access_ids(
        &self,
        mut ids: Vec<String>,
        user: Option<&str>,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        ids.sort_unstable();
        ids.dedup();
        let (Some(user), false) = (user, ids.is_empty()) else {
            return Ok(false);
        };
        let mut viewer = self.viewer(Some(user), Extra::default(), context);
        let (rooms, joined, known) = tokio::join!(
            self.store.rooms_by_ids(&ids),
            self.store.rooms_of_user_among(user, &ids),
            viewer.is_known(true),
        );
        let rooms = rooms.map_err(unavailable)?;
        if rooms.len() < ids.len() {
            return Ok(false);
        }
        known?;
        let joined: HashSet<String> = joined.map_err(unavailable)?.into_iter().collect();
        if let Some(person) = &mut viewer.person {
            for id in &ids {
                person.is_known_to_be_member(id, joined.contains(id));
            }
        }
        for room in rooms {
            if !self.opens(Some(room), &viewer).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Who takes part in a conference may see it, and who may see its room or its discussion.
    pub(super) async fn can_access_conference(
        &self,
        rooms: &[String],
        members: &[String],
        user: Option<&str>,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let Some(user) = user else { return Ok(false) };
        if members.iter().any(|member| member == user) {
            return Ok(true);
        }
        for room in rooms {
            if self.can_access_id(room, Some(user), context).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn viewer<'a>(
        &'a self,
        user: Option<&'a str>,
        extra: Extra,
        context: &'a Context,
    ) -> Viewer<'a> {
        Viewer {
            person: user.map(|user| Person::new(&self.store, &self.reads, user)),
            extra,
            context,
        }
    }

    /// A room that was described without its type is judged as it is stored.
    async fn as_stored(&self, room: Option<Room>) -> Result<Option<Room>, ServiceError> {
        match room {
            Some(room) if room.kind.is_empty() && !room.id.is_empty() => {
                self.reads.room(&room.id).await
            }
            described => Ok(described),
        }
    }

    /// Judges a room, and the ones above it.
    async fn opens(&self, room: Option<Room>, viewer: &Viewer<'_>) -> Result<bool, ServiceError> {
        let mut chain: Vec<Room> = room.into_iter().collect();
        while let Some(room) = chain.last() {
            let with_invitations = viewer.extra.with_invitations && chain.len() == 1;
            if self.is_public_for(room, viewer).await?
                || self.is_joined_by(room, viewer, with_invitations).await?
            {
                return Ok(true);
            }
            let Some(parent) = &room.parent else { break };
            // A loop in the data must not become one here. The first room may be stored otherwise than it is described.
            if chain.len() > PARENTS_MAX || chain[1..].iter().any(|room| room.id == *parent) {
                break;
            }
            match self.reads.room(parent).await? {
                Some(parent) => chain.push(parent),
                None => break,
            }
        }
        // What the asker brings along is about the room asked for, not about those above it.
        for parent in chain.iter().skip(1).rev() {
            if self
                .ask_judge(Some(parent), &Extra::default(), viewer)
                .await?
            {
                return Ok(true);
            }
        }
        self.ask_judge(chain.first(), &viewer.extra, viewer).await
    }

    async fn is_public_for(&self, room: &Room, viewer: &Viewer<'_>) -> Result<bool, ServiceError> {
        if room.kind != "c" {
            return Ok(false);
        }
        let person = viewer.person.as_ref();
        if let Some(team) = &room.team {
            if room.id.is_empty() {
                return Ok(false);
            }
            let is_member = async {
                match person {
                    Some(person) => self.store.is_team_member(team, person.id).await,
                    None => Ok(false),
                }
            };
            let (kind, is_member) = tokio::join!(self.store.team_kind(team), is_member);
            if kind.map_err(unavailable)? != Some(PUBLIC_TEAM) {
                return is_member.map_err(unavailable);
            }
        }
        match person {
            Some(person) => {
                self.has(person.roles().await?, &["view-c-room"], Need::One)
                    .await
            }
            None => self.reads.is_on("Accounts_AllowAnonymousRead").await,
        }
    }

    async fn is_joined_by(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        with_invitations: bool,
    ) -> Result<bool, ServiceError> {
        let Some(person) = viewer.person.as_ref().filter(|_| !room.id.is_empty()) else {
            return Ok(false);
        };
        let by_kind = format!("view-{}-room", room.kind);
        let may_join = async {
            let roles = person.roles().await?;
            self.has(roles, &["view-joined-room", &by_kind], Need::One)
                .await
        };
        if room.has_abac && self.abac.decides(viewer.context).await? {
            return Ok(may_join.await? && self.abac.ask(room, person.id, viewer.context).await?);
        }
        let has_place = async {
            Ok(person.is_member(&room.id).await?
                || with_invitations
                    && self
                        .store
                        .is_invited(&room.id, person.id)
                        .await
                        .map_err(unavailable)?)
        };
        let (has_place, may_join) = tokio::join!(has_place, may_join);
        Ok(has_place? && may_join?)
    }
}

impl Viewer<'_> {
    /// # Errors
    /// There is no such user, where the caller `must` be told.
    async fn is_known(&self, must: bool) -> Result<(), ServiceError> {
        match self.person.as_ref().filter(|_| must) {
            Some(person) => person.must_exist().await,
            None => Ok(()),
        }
    }

    async fn is_member(&self, room: &str) -> Result<bool, ServiceError> {
        match &self.person {
            Some(person) => person.is_member(room).await,
            None => Ok(false),
        }
    }
}

/// How far up a chain of discussions goes.
const PARENTS_MAX: usize = 8;
/// `type` of a team that everybody may join.
const PUBLIC_TEAM: i32 = 0;
