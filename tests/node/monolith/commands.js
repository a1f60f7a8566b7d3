// What a test can make the monolith do. Each command takes one object and returns what its reply carries.

const { hashToken, randomId } = require("./database");
const { MeteorError } = require("./moleculer");
const { userDocument } = require("../workspace");

function commands({ broker, database, line, rooms, license, received, broadcast }) {
  return {
    /** Any event to every node that lists it. */
    broadcast: ({ event, args = [] }) => broadcast(event, ...args),

    /** The same to one node only, so that others hear of it later or never: {node, event, args}. */
    async tell({ node, event, args = [] }) {
      const context = broker.ContextFactory.create(broker, null, args, {});
      Object.assign(context, { eventName: event, eventType: "broadcast", endpoint: { id: node }, nodeID: node });
      await broker.transit.sendEvent(context);
    },

    /** What monolith code says on a stream, in the line's form: {stream, event, args}. */
    relay({ stream, event, args = [] }) {
      const object = { stream, eventName: event, args, origin: broker.nodeID };
      broadcast("stream", line.relay === "array" ? [stream, event, args] : object);
    },

    /** Many events at once, numbered in the message text: {count, rid, size?}. */
    burst({ count, rid, size = 0 }) {
      const u = { _id: "burst", username: "burst" };
      for (let number = 0; number < count; number++) {
        const ts = new Date();
        const message = { _id: `burst-${number}`, rid, msg: `${number} ${"x".repeat(size)}`, ts, u, _updatedAt: ts };
        broadcast("watch.messages", { message });
      }
    },

    /** Calls an action on another node: {action, params, nodeID?}. */
    async call({ action, params = [], nodeID }) {
      return { result: await broker.call(action, params, nodeID ? { nodeID } : {}) };
    },

    /** Everything that other nodes have sent so far, or only what follows the first lines: {from?}. */
    received: ({ from = 0 }) => ({ received: received.slice(from) }),

    /** Waits until services are known, wherever they run: {names}. */
    async waitForServices({ names }) {
      await broker.waitForServices(names, 60_000, 50);
    },

    /** Every node known, with the names of its services. */
    nodes: () => ({
      nodes: broker.registry.nodes.list({ withServices: true }).map(({ id, available, services }) => ({
        id,
        available,
        services: (services ?? []).map(({ name }) => name),
      })),
    }),

    /** Runs a method as a user, as a REST call would: {username, method, args}. */
    async method({ username, method, args }) {
      return { result: await rooms.methods[method](await user(username), ...args) };
    },

    /** Gives a user one more login token, for a client that will log out: {username}. */
    async newToken({ username }) {
      const token = randomId();
      const loginToken = { when: new Date(), hashedToken: hashToken(token) };
      await database.users.updateOne({ username }, { $push: { "services.resume.loginTokens": loginToken } });
      return { token };
    },

    /** A user of its own for a test: {roles, set?}. */
    async newUser({ roles, set = {} }) {
      const username = `user-${randomId().toLowerCase()}`;
      const token = randomId();
      const document = { ...userDocument(username, { _id: randomId(), token, roles }, new Date()), ...set };
      await database.users.insertOne(document);
      return { id: document._id, username, token };
    },

    /** A room of its own for a test, announced: {t, members, rid?, set?}. */
    async newRoom({ t, members = [], rid = randomId(), set = {} }) {
      const now = new Date();
      const name = `room-${rid.toLowerCase()}`;
      const room = { _id: rid, t, name, fname: name, msgs: 0, usersCount: 0, default: false, ts: now, _updatedAt: now, ...set };
      await database.rooms.insertOne(room);
      await rooms.roomChanged(rid, "inserted");
      for (const username of members) await rooms.addMember(rid, await user(username));
      return { rid };
    },

    /** Private rooms that are there and nobody has heard of: {count}. */
    async newRooms({ count }) {
      const now = new Date();
      const rids = Array.from({ length: count }, randomId);
      const room = (_id) => ({ _id, t: "p", name: _id, fname: _id, msgs: 0, usersCount: 0, ts: now, _updatedAt: now });
      await database.rooms.insertMany(rids.map(room));
      return { rids };
    },

    /** Makes a user a member of all of them before the first event goes out; each is followed by one of its room: {rids, username}. */
    async joinAll({ rids, username }) {
      const { _id } = await user(username);
      const now = new Date();
      const subscription = (rid) => ({ _id: randomId(), rid, name: rid, t: "p", u: { _id, username }, open: true, ts: now, _updatedAt: now });
      const subscriptions = rids.map(subscription);
      await database.subscriptions.insertMany(subscriptions);
      for (const one of subscriptions) {
        broadcast("watch.subscriptions", { clientAction: "inserted", subscription: one });
        broadcast("watch.rooms", { clientAction: "updated", room: { _id: one.rid, t: "p", usersCount: 1 } });
      }
    },

    /** {rid, username, set?}: `set` makes an invitation of it, for instance. */
    addMember: async ({ rid, username, set }) => rooms.addMember(rid, await user(username), set),

    removeMember: async ({ rid, username }) => rooms.removeMember(rid, (await user(username))._id),

    /** Removes all of them before the first event goes out: {rid, usernames}. */
    async removeMembers({ rid, usernames }) {
      const subscriptions = await database.subscriptions.find({ rid, "u.username": { $in: usernames } }).toArray();
      await database.subscriptions.deleteMany({ rid, "u.username": { $in: usernames } });
      for (const subscription of subscriptions) broadcast("watch.subscriptions", { clientAction: "removed", subscription });
    },

    /** Changes what a room is to a user and announces it: {rid, username, set?, unset?}. */
    async setMember({ rid, username, set = {}, unset = [] }) {
      const which = { rid, "u.username": username };
      const $unset = Object.fromEntries(unset.map((name) => [name, 1]));
      await database.subscriptions.updateOne(which, { $set: { ...set, _updatedAt: new Date() }, ...(unset.length > 0 && { $unset }) });
      const subscription = await database.subscriptions.findOne(which);
      broadcast("watch.subscriptions", { clientAction: "updated", subscription });
    },

    /** Changes fields of a room and announces it: {rid, set}. */
    async setRoom({ rid, set }) {
      await database.rooms.updateOne({ _id: rid }, { $set: { ...set, _updatedAt: new Date() } });
      await rooms.roomChanged(rid, "updated");
    },

    /** Changes fields of a user and announces them; some lines send no diff: {username, set, diff?}. */
    async setUser({ username, set, diff = true }) {
      const { _id } = await user(username);
      await database.users.updateOne({ _id }, { $set: { ...set, _updatedAt: new Date() } });
      broadcast("watch.users", { clientAction: "updated", id: _id, ...(diff && { diff: set }), unset: {} });
    },

    /** Deactivates a user: no login token is left. */
    async deactivate({ username }) {
      const { _id } = await user(username);
      const diff = { active: false, "services.resume.loginTokens": [] };
      await database.users.updateOne({ _id }, { $set: { ...diff, _updatedAt: new Date() } });
      broadcast("watch.users", { clientAction: "updated", id: _id, diff, unset: {} });
    },

    /** Ends one session of a user, or all of them: {username, sessionId?}. */
    async forceLogout({ username, sessionId }) {
      const { _id } = await user(username);
      broadcast("user.forceLogout", ...(sessionId ? [_id, sessionId] : [_id]));
    },

    /** Gives a permission to exactly these roles: {permission, roles}. */
    async setPermission({ permission, roles }) {
      await database.permissions.updateOne({ _id: permission }, { $set: { roles, _updatedAt: new Date() } }, { upsert: true });
      broadcast("permission.changed", { clientAction: "updated", data: { _id: permission, roles } });
    },

    async setSetting({ setting, value }) {
      const set = { $set: { value, _updatedAt: new Date() } };
      await database.settings.updateOne({ _id: setting }, set, { upsert: true });
      broadcast("watch.settings", { clientAction: "updated", setting: await database.settings.findOne({ _id: setting }) });
    },

    /** What the license service answers from now on, about every module; with `module` that one is announced: {valid, module?}. */
    license({ valid, module }) {
      license.valid = valid;
      if (module) broadcast("license.module", { module, valid });
    },

    /** Changes the database behind everybody's back, by the collection's name in MongoDB: {collection, filter, update}. */
    async write({ collection, filter, update }) {
      await database.db.collection(collection).updateOne(filter, update, { upsert: true });
    },

    /** Reads the database: {collection, filter}, the collection by its name in MongoDB. */
    async find({ collection, filter = {} }) {
      return { documents: await database.db.collection(collection).find(filter).toArray() };
    },

    /** Leaves the network politely and ends. */
    stop() {},
  };

  async function user(username) {
    const found = await database.users.findOne({ username });
    if (!found) throw new MeteorError("error-invalid-user", `no user ${username}`);
    return found;
  }
}

module.exports = commands;
