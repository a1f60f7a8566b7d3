// Service `authorization` (services.md 3), with the actions of every line. It judges from the database on every call, so that no
// memory hides a mistake; told to remember, it keeps what the original keeps (3.4), so that it does not make up for others'.

const { canAccessLivechat } = require("./livechat");

function authorization(database, license, { line, remembers }) {
  const roles = memory(remembers ? 1_000 : 0);
  const verdicts = memory(remembers ? Infinity : 0);
  const forget = () => [roles, verdicts].forEach((kept) => kept.clear());
  const methods = {
    hasPermission: (user, permission, scope) => methods.hasAllPermission(user, [permission], scope),

    async hasAllPermission(user, permissions, scope) {
      if (!user) return false;
      const held = await rolesOf(user, scope);
      for (const permission of permissions) {
        if (!(await rolesHave(held, permission))) return false;
      }
      return true;
    },

    async hasAtLeastOnePermission(user, permissions, scope) {
      if (!user) return false;
      const held = await rolesOf(user, scope);
      for (const permission of permissions) {
        if (await rolesHave(held, permission)) return true;
      }
      return false;
    },

    async canAccessRoom(room, user, extraData) {
      if (line.unknownUser && user?._id && Object.keys(user).length === 1 && !(await database.users.findOne({ _id: user._id }))) {
        throw new Error("User not found");
      }
      for (const rule of [publicRoomInTeam, publicRoom, alreadyJoined, parentOfDiscussion, livechat]) {
        if (await rule(room ?? {}, user?._id, extraData ?? {})) return true;
      }
      return false;
    },

    async canReadRoom(room, user, extraData) {
      if (!(await methods.canAccessRoom(room, user, extraData))) return false;
      if (!user?._id || room?.t !== "c") return true;
      return (await methods.hasPermission(user._id, "preview-c-room")) || isMember(room._id, user._id, {});
    },

    async canAccessRoomId(rid, uid) {
      const room = await database.rooms.findOne({ _id: rid });
      return room ? methods.canAccessRoom(room, uid ? { _id: uid } : null) : false;
    },

    async canAccessRoomIds(rids, user) {
      if (!user || rids.length === 0) return false;
      for (const rid of new Set(rids)) {
        if (!(await methods.canAccessRoomId(rid, user._id))) return false;
      }
      return true;
    },

    async canAccessConference({ rid, discussionRid, users = [] }, uid) {
      if (!uid) return false;
      if (users.some(({ _id }) => _id === uid)) return true;
      for (const room of [rid, discussionRid]) {
        if (room && (await methods.canAccessRoomId(room, uid))) return true;
      }
      return false;
    },

    async hasAnyRole(uid, roleIds, scope) {
      const held = await rolesOf(uid, scope);
      return roleIds.some((role) => held.includes(role));
    },

    /** The stand-in restricts no role: nothing here is about guests of a licence. */
    addRoleRestrictions() {},

    async getUsersFromPublicRoles() {
      const described = await database.roles.find({ scope: "Users", description: { $exists: true, $ne: "" } }).toArray();
      const ids = described.map((role) => role._id);
      const users = await database.users.find({ roles: { $in: ids } }).sort({ username: 1 }).toArray();
      return users.map(({ _id, username, roles }) => ({ _id, username, roles: roles.filter((role) => ids.includes(role)) }));
    },
  };

  return { methods, events: { "watch.roles": forget, "permission.changed": forget, "authorization.guestPermissions": null } };

  // The rules of canAccessRoom in their order: the first that says yes decides.

  async function publicRoomInTeam({ _id, t, teamId }, uid) {
    if (!_id || !teamId || t !== "c") return false;
    const team = await database.teams.findOne({ _id: teamId });
    if (team?.type === 0) return mayReadPublicRooms(uid);
    return Boolean(uid && (await database.teamMembers.findOne({ teamId, userId: uid })));
  }

  async function publicRoom({ t, teamId }, uid) {
    return t === "c" && !teamId && mayReadPublicRooms(uid);
  }

  async function alreadyJoined({ _id, t, abacAttributes }, uid, extraData) {
    if (!_id || !uid || !(await isMember(_id, uid, extraData))) return false;
    if (!(await complies(uid, abacAttributes ?? []))) return false;
    return methods.hasAtLeastOnePermission(uid, ["view-joined-room", `view-${t}-room`]);
  }

  async function parentOfDiscussion({ prid }, uid) {
    const parent = prid && (await database.rooms.findOne({ _id: prid }));
    return parent ? methods.canAccessRoom(parent, uid ? { _id: uid } : null) : false;
  }

  /** The monolith's own judge, wherever this service runs. */
  async function livechat({ _id, t }, uid, extraData) {
    if (t && t !== "l" && t !== "v") return false;
    const room = await database.rooms.findOne({ _id: _id ?? extraData.rid, t: { $in: ["l", "v"] } });
    if (!room) return false;
    return canAccessLivechat(database, methods.hasPermission, room, uid ? { _id: uid } : null, extraData);
  }

  /** Where attributes decide: a member has all of the room's himself. */
  async function complies(uid, attributes) {
    if (!line.abac || attributes.length === 0 || !license.valid) return true;
    if (!(await database.settings.findOne({ _id: "ABAC_Enabled" }))?.value) return true;
    const own = (await database.users.findOne({ _id: uid }))?.abacAttributes ?? [];
    const has = ({ key, values }) => own.some((attribute) => attribute.key === key && values.every((value) => attribute.values.includes(value)));
    return attributes.every(has);
  }

  async function mayReadPublicRooms(uid) {
    if (uid) return methods.hasPermission(uid, "view-c-room");
    return Boolean((await database.settings.findOne({ _id: "Accounts_AllowAnonymousRead" }))?.value);
  }

  /** Of a user's id, or of a user that is given with his roles; a room's roles are added for a scope. */
  function rolesOf(user, scope) {
    const uid = user._id ?? user;
    return roles.of(JSON.stringify([uid, user.roles, scope]), async () => {
      const own = user.roles ?? (await database.users.findOne({ _id: uid }))?.roles ?? [];
      if (!scope) return own;
      const subscription = await database.subscriptions.findOne({ rid: scope, "u._id": uid });
      return [...own, ...(subscription?.roles ?? [])];
    });
  }

  function rolesHave(held, permission) {
    return verdicts.of(JSON.stringify([permission, [...held].sort()]), async () =>
      Boolean(await database.permissions.findOne({ _id: permission, roles: { $in: held } })),
    );
  }

  async function isMember(rid, uid, { includeInvitations }) {
    const counts = includeInvitations ? {} : line.members;
    return Boolean(await database.subscriptions.findOne({ rid, "u._id": uid, ...counts }));
  }
}

/** Answers kept for so many milliseconds. */
function memory(milliseconds) {
  const kept = new Map();
  return {
    async of(key, ask) {
      const known = kept.get(key);
      if (known && known.until > Date.now()) return known.answer;
      const answer = await ask();
      kept.set(key, { answer, until: Date.now() + milliseconds });
      return answer;
    },
    clear: () => kept.clear(),
  };
}

module.exports = authorization;
