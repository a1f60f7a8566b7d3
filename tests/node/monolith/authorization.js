// Service `authorization` (services.md 3), judged from the database on every call: no cache that could hide a mistake.

function authorization(database) {
  const methods = {
    hasPermission: (user, permission, scope) => methods.hasAllPermission(user, [permission], scope),

    async hasAllPermission(user, permissions, scope) {
      if (!user) return false;
      const roles = await rolesOf(user, scope);
      for (const permission of permissions) {
        if (!(await rolesHave(roles, permission))) return false;
      }
      return true;
    },

    async hasAtLeastOnePermission(user, permissions, scope) {
      if (!user) return false;
      const roles = await rolesOf(user, scope);
      for (const permission of permissions) {
        if (await rolesHave(roles, permission)) return true;
      }
      return false;
    },

    async canAccessRoom(room, user, extraData) {
      for (const rule of [publicRoomInTeam, publicRoom, alreadyJoined, parentOfDiscussion, livechatGuest]) {
        if (await rule(room ?? {}, user?._id, extraData ?? {})) return true;
      }
      return false;
    },

    async canReadRoom(room, user, extraData) {
      if (!(await methods.canAccessRoom(room, user, extraData))) return false;
      if (!user?._id || room?.t !== "c") return true;
      return (await methods.hasPermission(user._id, "preview-c-room")) || isMember(room._id, user._id);
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

    async hasAnyRole(uid, roleIds, scope) {
      const roles = await rolesOf(uid, scope);
      return roleIds.some((role) => roles.includes(role));
    },

    async getUsersFromPublicRoles() {
      const described = await database.roles.find({ scope: "Users", description: { $exists: true, $ne: "" } }).toArray();
      const ids = described.map((role) => role._id);
      const users = await database.users.find({ roles: { $in: ids } }).sort({ username: 1 }).toArray();
      return users.map(({ _id, username, roles }) => ({ _id, username, roles: roles.filter((role) => ids.includes(role)) }));
    },
  };

  return { methods, events: { "watch.roles": null, "permission.changed": null, "authorization.guestPermissions": null } };

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

  async function alreadyJoined({ _id, t }, uid) {
    if (!_id || !uid || !(await isMember(_id, uid))) return false;
    return methods.hasAtLeastOnePermission(uid, ["view-joined-room", `view-${t}-room`]);
  }

  async function parentOfDiscussion({ prid }, uid) {
    const parent = prid && (await database.rooms.findOne({ _id: prid }));
    return parent ? methods.canAccessRoom(parent, uid ? { _id: uid } : null) : false;
  }

  async function livechatGuest({ _id, t }, _uid, { token, visitorToken }) {
    if (t !== "l" || !(token || visitorToken)) return false;
    const room = await database.rooms.findOne({ _id });
    return [token, visitorToken].includes(room?.v?.token);
  }

  async function mayReadPublicRooms(uid) {
    if (uid) return methods.hasPermission(uid, "view-c-room");
    return Boolean((await database.settings.findOne({ _id: "Accounts_AllowAnonymousRead" }))?.value);
  }

  /** Of a user's id, or of a user that is given with his roles; a room's roles are added for a scope. */
  async function rolesOf(user, scope) {
    const uid = user._id ?? user;
    const own = user.roles ?? (await database.users.findOne({ _id: uid }))?.roles ?? [];
    if (!scope) return own;
    const subscription = await database.subscriptions.findOne({ rid: scope, "u._id": uid });
    return [...own, ...(subscription?.roles ?? [])];
  }

  async function rolesHave(roles, permission) {
    return Boolean(await database.permissions.findOne({ _id: permission, roles: { $in: roles } }));
  }

  /** A pending invitation is no membership. */
  async function isMember(rid, uid) {
    const invited = { $exists: false };
    return Boolean(await database.subscriptions.findOne({ rid, "u._id": uid, invited, status: { $ne: "INVITED" } }));
  }
}

module.exports = authorization;
