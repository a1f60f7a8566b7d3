// The collections of a Rocket.Chat database (services.md 7) and the writes that several services share.

const { createHash, randomBytes } = require("node:crypto");
const { MongoClient } = require("mongodb");

const COLLECTIONS = {
  users: "users",
  sessions: "usersSessions",
  instances: "instances",
  rooms: "rocketchat_room",
  subscriptions: "rocketchat_subscription",
  messages: "rocketchat_message",
  permissions: "rocketchat_permissions",
  roles: "rocketchat_roles",
  settings: "rocketchat_settings",
  teams: "rocketchat_team",
  teamMembers: "rocketchat_team_member",
  departmentAgents: "rocketchat_livechat_department_agents",
  conferences: "rocketchat_video_conference",
  statistics: "rocketchat_statistics",
  trash: "rocketchat__trash",
};

/** Opens the database that the URL names. */
async function open(url) {
  const client = await MongoClient.connect(url, { serverSelectionTimeoutMS: 20_000 });
  const db = client.db();
  const collections = Object.entries(COLLECTIONS).map(([key, name]) => [key, db.collection(name)]);
  return { client, db, ...Object.fromEntries(collections) };
}

/** Deletes a document the way Rocket.Chat's models do: through the trash. Returns it, or null. */
async function moveToTrash(database, key, _id) {
  const document = await database[key].findOne({ _id });
  if (!document) return null;
  const __collection__ = COLLECTIONS[key].replace(/^rocketchat_/, "");
  await database.trash.replaceOne({ _id }, { ...document, _deletedAt: new Date(), __collection__ }, { upsert: true });
  await database[key].deleteOne({ _id });
  return document;
}

/** The form in which login tokens are stored. */
function hashToken(token) {
  return createHash("sha256").update(token).digest("base64");
}

const ID_CHARACTERS = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";

/** An id in Meteor's form: 17 characters that cannot be mistaken for each other. */
function randomId() {
  return Array.from(randomBytes(17), (byte) => ID_CHARACTERS[byte % ID_CHARACTERS.length]).join("");
}

module.exports = { COLLECTIONS, open, moveToTrash, hashToken, randomId };
