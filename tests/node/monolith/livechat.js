// Services `authorization-livechat` and `authorization-voip` (services.md 3.9): the monolith's own judges of omnichannel rooms.

/** The rules in their order: the first that says yes decides. The room is the stored one. */
async function canAccessLivechat(database, hasPermission, room, user, extraData) {
  const { token, visitorToken, rid } = extraData ?? {};
  const given = visitorToken ?? token;
  if (given && room.v?.token === given) return true;
  // Apps and contacts may let in others; here the room names them.
  if (given && (await database.rooms.findOne({ _id: room._id, guests: given }))) return true;
  // Who fetches a file names the room himself: whoever asks must not pass on an id that a client chose.
  if (given && rid && (await database.rooms.findOne({ _id: rid, t: "l", "v.token": given }))) return true;
  if (!user?._id) return false;
  if (await hasPermission(user._id, "view-livechat-rooms")) return true;
  if (!(await hasPermission(user._id, "view-l-room"))) return false;
  if (room.servedBy?._id === user._id) return true;
  const { departmentId } = room;
  return Boolean(departmentId && (await database.departmentAgents.findOne({ departmentId, agentId: user._id })));
}

function livechat(database, hasPermission) {
  const canAccessRoom = (room, user, extraData) => canAccessLivechat(database, hasPermission, room, user, extraData);
  return {
    "authorization-livechat": { methods: { canAccessRoom } },
    "authorization-voip": { methods: { canAccessRoom: () => false } },
  };
}

module.exports = livechat;
module.exports.canAccessLivechat = canAccessLivechat;
