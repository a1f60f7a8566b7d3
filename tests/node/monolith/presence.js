// Service `presence` in the form of the lines before the presence engine (services.md 4.1 to 4.5).

const { only } = require("./moleculer");

const STATUSES = ["online", "away", "busy", "offline"];

function presence(database, broadcast, line) {
  const methods = {
    async newConnection(uid, session, nodeId) {
      if (!uid || !session) return undefined;
      const now = new Date();
      const connection = { id: session, instanceId: nodeId, status: "online", _createdAt: now, _updatedAt: now };
      await database.sessions.updateOne({ _id: uid }, { $push: { connections: connection } }, { upsert: true });
      await recompute(uid);
      return { uid, connectionId: session };
    },

    async updateConnection(uid, connectionId) {
      const touched = await database.sessions.updateOne(
        { _id: uid, "connections.id": connectionId },
        { $set: { "connections.$._updatedAt": new Date() } },
      );
      if (touched.modifiedCount === 0) return undefined;
      await recompute(uid);
      return { uid, connectionId };
    },

    async removeConnection(uid, session) {
      if (!uid || !session) return undefined;
      await database.sessions.updateMany({ "connections.id": session }, { $pull: { connections: { id: session } } });
      await recompute(uid);
      return { uid, session };
    },

    async removeLostConnections(nodeId) {
      const lost = nodeId ? { "connections.instanceId": nodeId } : { "connections.0": { $exists: true } };
      const uids = (await database.sessions.find(lost).toArray()).map(({ _id }) => _id);
      const connections = nodeId ? { instanceId: nodeId } : {};
      await database.sessions.updateMany(lost, { $pull: { connections } });
      for (const uid of uids) await recompute(uid);
      return uids;
    },

    async setStatus(uid, status, statusText) {
      if (!uid || !STATUSES.includes(status)) return false;
      const set = { statusDefault: status };
      if (typeof statusText === "string") set.statusText = statusText.trim().slice(0, 120);
      return recompute(uid, set);
    },

    async setConnectionStatus(uid, status, session) {
      const changed = await database.sessions.updateOne(
        { _id: uid, "connections.id": session },
        { $set: { "connections.$.status": status, "connections.$._updatedAt": new Date() } },
      );
      await recompute(uid);
      return changed.modifiedCount > 0;
    },

    async updateUserPresence(uid) {
      await recompute(uid);
    },

    async getConnectionCount() {
      const documents = await database.sessions.find({}).toArray();
      return { current: documents.reduce((sum, { connections }) => sum + connections.length, 0), max: 200 };
    },
  };

  return {
    methods: only(line.presence, methods),
    events: {
      "watch.instanceStatus": null,
      "license.module": null,
      "$node.disconnected": ({ node } = {}) => node && methods.removeLostConnections(node.id),
    },
  };

  /** Writes what follows from the user's connections and choice; true if something changed, which is then announced. */
  async function recompute(uid, set = {}) {
    const user = await database.users.findOne({ _id: uid });
    if (!user) return false;
    const connections = (await database.sessions.findOne({ _id: uid }))?.connections ?? [];
    const statusConnection = connections.reduce(
      (merged, { status }) => (merged === "online" || status === "offline" ? merged : status),
      "offline",
    );
    const chosen = set.statusDefault ?? user.statusDefault ?? "online";
    const status = statusConnection === "offline" || chosen === "online" ? statusConnection : chosen;
    const write = await database.users.updateOne({ _id: uid }, { $set: { ...set, status, statusConnection } });
    if (write.modifiedCount === 0) return false;
    const { _id, username, name, roles, statusText } = { ...user, ...set };
    broadcast("presence.status", { user: { _id, username, name, roles, status, statusText }, previousStatus: user.status });
    return true;
  }
}

module.exports = presence;
