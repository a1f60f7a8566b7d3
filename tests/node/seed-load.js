// Fills the database at MONGO_URL for load tests: public rooms room-0.., users user-0.. whose resume token is token-<n> and who
// may read public rooms, everybody a member of nothing but the last 400, who are members of the private room crowd; with the indexes that logins and questions need. Then it ends.
//
//   MONGO_URL=mongodb://.. node seed-load.js [rooms] [users]

const { createHash } = require("node:crypto");
const { MongoClient } = require("mongodb");

const BATCH = 1_000;

async function main() {
  const [rooms, users] = [process.argv[2] ?? 1_000, process.argv[3] ?? 10_500].map(Number);
  const client = await MongoClient.connect(process.env.MONGO_URL);
  const database = client.db();
  const now = new Date();
  await fill(database.collection("rocketchat_room"), rooms, (n) => ({ _id: `room-${n}`, t: "c", name: `room-${n}`, _updatedAt: now }));
  await database.collection("rocketchat_room").insertOne({ _id: "crowd", t: "p", name: "crowd", _updatedAt: now });
  await fill(database.collection("rocketchat_subscription"), Math.min(400, users), (n) => ({
    _id: `crowd-${n}`,
    rid: "crowd",
    u: { _id: `user-${users - 1 - n}`, username: `user-${users - 1 - n}` },
    _updatedAt: now,
  }));
  await fill(database.collection("users"), users, (n) => ({
    _id: `user-${n}`,
    username: `user-${n}`,
    active: true,
    roles: ["user"],
    services: { resume: { loginTokens: [{ hashedToken: hashed(`token-${n}`), when: now }] } },
    _updatedAt: now,
  }));
  for (const permission of ["view-c-room", "preview-c-room", "view-joined-room"]) {
    await database.collection("rocketchat_permissions").replaceOne({ _id: permission }, { roles: ["user"] }, { upsert: true });
  }
  // As the original's: without them every login and question walks through all documents.
  await database.collection("users").createIndex({ "services.resume.loginTokens.hashedToken": 1 });
  await database.collection("rocketchat_subscription").createIndex({ rid: 1, "u._id": 1 });
  await database.collection("rocketchat_subscription").createIndex({ "u._id": 1 });
  await client.close();
  console.log(JSON.stringify({ ready: { rooms, users } }));
}

async function fill(collection, count, document) {
  for (let start = 0; start < count; start += BATCH) {
    const size = Math.min(BATCH, count - start);
    await collection.insertMany(Array.from({ length: size }, (_, i) => document(start + i)));
  }
}

const hashed = (token) => createHash("sha256").update(token).digest("base64");

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
