// The workspace that the tests start from: who is there, with which token, in which room.

const { COLLECTIONS, hashToken } = require("./monolith/database");

/** User name to id, resume token and roles. Nobody has a password; `dave` has a role without any permission. */
const USERS = {
  alice: { _id: "aliceaaaaaaaaaaaa", token: "resume-token-of-alice", roles: ["user", "admin"] },
  bob: { _id: "bobbbbbbbbbbbbbbb", token: "resume-token-of-bob", roles: ["user"] },
  carol: { _id: "carolcccccccccccc", token: "resume-token-of-carol", roles: ["user"] },
  dave: { _id: "daveddddddddddddd", token: "resume-token-of-dave", roles: ["outsider"] },
};

/** A token of alice whose time is over. */
const EXPIRED_TOKEN = "expired-token-of-alice";

/** Room id to type, name and members; `lounge` shows who may read a public room without being in it. */
const ROOMS = {
  GENERAL: { t: "c", name: "general", members: ["alice", "bob", "carol"] },
  lounge: { t: "c", name: "lounge", members: ["bob"] },
  secret: { t: "p", name: "secret", members: ["alice", "bob"] },
  vault: { t: "p", name: "vault", members: ["carol"] },
  "aliceaaaaaaaaaaaabobbbbbbbbbbbbbbb": { t: "d", members: ["alice", "bob"] },
  talk: { t: "p", name: "talk", prid: "secret", members: [] },
};

const PERMISSIONS = {
  "view-c-room": ["admin", "user", "bot", "anonymous", "joiner"],
  "preview-c-room": ["admin", "user", "anonymous", "previewer"],
  "view-p-room": ["admin", "user", "guest"],
  "view-d-room": ["admin", "user", "guest"],
  "view-joined-room": ["admin", "user", "guest"],
  "delete-message": ["admin", "owner", "moderator"],
  "view-privileged-setting": ["admin"],
  "edit-privileged-setting": ["admin"],
  "manage-selected-settings": ["admin"],
  "view-l-room": ["admin", "livechat-agent"],
  "view-livechat-rooms": ["admin"],
  "view-logs": ["admin"],
  "view-canned-responses": ["admin", "livechat-agent"],
  "manage-outgoing-integrations": ["admin"],
  "manage-own-outgoing-integrations": ["admin"],
};

const ROLES = [
  { _id: "admin", name: "admin", scope: "Users", description: "Admin", protected: true },
  { _id: "user", name: "user", scope: "Users", description: "", protected: true },
  { _id: "guest", name: "guest", scope: "Users", description: "", protected: true },
  { _id: "outsider", name: "outsider", scope: "Users", description: "", protected: false },
  { _id: "moderator", name: "moderator", scope: "Subscriptions", description: "Moderator", protected: true },
];

const SETTINGS = {
  Accounts_LoginExpiration: 90,
  Accounts_AllowAnonymousRead: false,
  UI_Use_Real_Name: false,
  Presence_broadcast_disabled: false,
  Canned_Responses_Enable: true,
  ABAC_Enabled: false,
  OTR_Enable: true,
  ...rateLimit("IP", 120_000, 60_000),
  ...rateLimit("User", 1_200, 60_000),
  ...rateLimit("Connection", 600, 60_000),
  ...rateLimit("User_By_Method", 20, 10_000),
  ...rateLimit("Connection_By_Method", 10, 10_000),
};

/** Empties the database and fills it, as a workspace of this version. */
async function seed(database, version = "7.10.0") {
  await database.db.dropDatabase();
  const now = new Date();
  await createCollections(database);
  await createIndexes(database);
  await database.users.insertMany(Object.entries(USERS).map(([username, user]) => userDocument(username, user, now)));
  await database.rooms.insertMany(Object.entries(ROOMS).map(([_id, room]) => roomDocument(_id, room, now)));
  await database.subscriptions.insertMany(Object.entries(ROOMS).flatMap(([rid, room]) => subscriptionDocuments(rid, room, now)));
  await database.permissions.insertMany(Object.entries(PERMISSIONS).map(([_id, roles]) => ({ _id, roles, _updatedAt: now })));
  await database.roles.insertMany(ROLES.map((role) => ({ ...role, _updatedAt: now })));
  await database.settings.insertMany(Object.entries(SETTINGS).map(([_id, value]) => ({ _id, value, type: typeof value, public: false, _updatedAt: now })));
  await database.statistics.insertOne({ _id: "statistics1", version, createdAt: now });
}

/**
 * As a workspace that has run before has them. SecantusDB stands still for ever when an index and the first document make
 * one collection at the same time.
 */
async function createCollections({ db }) {
  for (const name of Object.values(COLLECTIONS)) await db.createCollection(name);
}

async function createIndexes(database) {
  await database.users.createIndex({ "services.resume.loginTokens.hashedToken": 1 }, { unique: true, sparse: true });
  await database.users.createIndex({ username: 1 }, { unique: true, sparse: true });
  await database.users.createIndex({ roles: 1 }, { sparse: true });
  await database.subscriptions.createIndex({ rid: 1, "u._id": 1 }, { unique: true });
  await database.subscriptions.createIndex({ "u._id": 1 });
  await database.messages.createIndex({ rid: 1, ts: 1 });
}

function userDocument(username, { _id, token, roles }, now) {
  const loginTokens = [{ when: now, hashedToken: hashToken(token) }];
  if (username === "alice") loginTokens.push({ when: new Date("2001-01-01"), hashedToken: hashToken(EXPIRED_TOKEN) });
  const name = username[0].toUpperCase() + username.slice(1);
  return {
    _id, username, name, type: "user", active: true, roles, createdAt: now,
    emails: [{ address: `${username}@example.org`, verified: true }],
    services: { resume: { loginTokens } },
    status: "offline", statusConnection: "offline", statusDefault: "online", statusText: "", utcOffset: 0, _updatedAt: now,
  };
}

function roomDocument(_id, { t, name, prid, members }, now) {
  const usernames = t === "d" ? { usernames: members, uids: members.map((member) => USERS[member]._id) } : { name, fname: name };
  return { _id, t, ...usernames, ...(prid && { prid }), msgs: 0, usersCount: members.length, default: false, ts: now, _updatedAt: now };
}

function subscriptionDocuments(rid, { t, name, members }, now) {
  return members.map((username) => ({
    _id: `${rid}-${username}`, rid, t,
    name: name ?? members.find((member) => member !== username),
    u: { _id: USERS[username]._id, username },
    open: true, alert: false, unread: 0, ts: now, ls: now, _updatedAt: now,
  }));
}

function rateLimit(name, requests, interval) {
  const prefix = `DDP_Rate_Limit_${name}`;
  return {
    [`${prefix}_Enabled`]: true,
    [`${prefix}_Requests_Allowed`]: requests,
    [`${prefix}_Interval_Time`]: interval,
  };
}

module.exports = { seed, userDocument, USERS, ROOMS, EXPIRED_TOKEN };
