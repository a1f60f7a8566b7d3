// What the monolith does with rooms and messages: each write is followed by the events of services.md 5.12.

const { MeteorError } = require("./moleculer");
const { moveToTrash, randomId } = require("./database");

function messages(database, canAccessRoomId, hasPermission, broadcast) {
  const methods = {
    async sendMessage(user, { _id = randomId(), rid, msg, tmid }) {
      const refused = () => new MeteorError("error-not-allowed", "Not allowed", { method: "sendMessage" });
      if (!user) throw new MeteorError("error-invalid-user", "Invalid user", { method: "sendMessage" });
      if (typeof msg !== "string" || !rid) throw refused();
      if (!(await canAccessRoomId(rid, user._id))) throw refused();
      if (await database.messages.findOne({ _id })) throw refused();

      const now = new Date();
      const { username, name } = user;
      const message = { _id, rid, msg, ts: now, u: { _id: user._id, username, name }, urls: [], mentions: [], channels: [], _updatedAt: now };
      if (tmid) message.tmid = tmid;
      await database.messages.insertOne(message);
      broadcast("watch.messages", { message });

      await database.rooms.updateOne({ _id: rid }, { $inc: { msgs: 1 }, $set: { lm: now, lastMessage: message, _updatedAt: now } });
      await roomChanged(rid, "updated");
      await countUnread(user, message);
      return message;
    },

    async deleteMessage(user, { _id }) {
      const refused = () => new MeteorError("error-action-not-allowed", "Not allowed", { method: "deleteMessage", action: "Delete_message" });
      const message = await database.messages.findOne({ _id });
      if (!user || !message || !(await canAccessRoomId(message.rid, user._id))) throw refused();
      if (message.u._id !== user._id && !(await hasPermission(user._id, "delete-message", message.rid))) throw refused();
      await moveToTrash(database, "messages", _id);
      broadcast("notify.deleteMessage", message.rid, { _id });
    },

    async loadHistory(user, rid, end, limit = 20) {
      if (!(await canAccessRoomId(rid, user?._id))) return false;
      const until = end ? { ts: { $lt: end } } : {};
      const found = await database.messages.find({ rid, ...until }).sort({ ts: -1 }).limit(limit).toArray();
      return { messages: found, unreadNotLoaded: 0 };
    },

    async "rooms/get"(user, since) {
      const subscriptions = user ? await database.subscriptions.find({ "u._id": user._id }).toArray() : [];
      const rooms = await database.rooms.find({ _id: { $in: subscriptions.map(({ rid }) => rid) } }).toArray();
      return changedSince(rooms, since);
    },

    async "subscriptions/get"(user, since) {
      if (!user) return [];
      return changedSince(await database.subscriptions.find({ "u._id": user._id }).toArray(), since);
    },
  };

  async function roomChanged(rid, clientAction) {
    const room = await database.rooms.findOne({ _id: rid });
    broadcast("watch.rooms", { clientAction, room: room ?? { _id: rid } });
  }

  async function countUnread(author, message) {
    const { rid, ts } = message;
    const others = await database.subscriptions.find({ rid, "u._id": { $ne: author._id } }).toArray();
    for (const { _id, u, t, name } of others) {
      await database.subscriptions.updateOne({ _id }, { $inc: { unread: 1 }, $set: { alert: true, _updatedAt: ts } });
      broadcast("watch.subscriptions", { clientAction: "updated", subscription: await database.subscriptions.findOne({ _id }) });
      broadcast("notify.desktop", u._id, {
        title: author.name,
        text: message.msg,
        payload: { _id: message._id, rid, sender: message.u, type: t, name, message: { msg: message.msg } },
      });
    }
  }

  async function addMember(rid, user, set = {}) {
    const { t, name, fname } = await database.rooms.findOne({ _id: rid });
    const now = new Date();
    const u = { _id: user._id, username: user.username, name: user.name };
    const subscription = { _id: randomId(), rid, u, t, name, fname, open: true, alert: false, unread: 0, ts: now, ls: now, _updatedAt: now, ...set };
    await database.subscriptions.insertOne(subscription);
    await database.rooms.updateOne({ _id: rid }, { $inc: { usersCount: 1 }, $set: { _updatedAt: now } });
    broadcast("watch.subscriptions", { clientAction: "inserted", subscription });
    await roomChanged(rid, "updated");
  }

  async function removeMember(rid, uid) {
    const found = await database.subscriptions.findOne({ rid, "u._id": uid });
    if (!found) return;
    const subscription = await moveToTrash(database, "subscriptions", found._id);
    await database.rooms.updateOne({ _id: rid }, { $inc: { usersCount: -1 }, $set: { _updatedAt: new Date() } });
    broadcast("watch.subscriptions", { clientAction: "removed", subscription });
    await roomChanged(rid, "updated");
  }

  return { methods, addMember, removeMember, roomChanged };
}

/** All of them the first time; afterwards what has changed since. */
function changedSince(documents, since) {
  if (!(since instanceof Date)) return documents;
  return { update: documents.filter(({ _updatedAt }) => _updatedAt > since), remove: [] };
}

module.exports = messages;
