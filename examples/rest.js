// The REST API with nothing but fetch: a message's life, and what an app reads at its start.

const assert = require("node:assert");

const HOST = process.env.HOST ?? "localhost:3000";
let auth = {};

async function ask(path, body) {
  const options = body && { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`http://${HOST}/api/v1/${path}`, { ...options, headers: { "Content-Type": "application/json", ...auth } });
  return { status: response.status, ...(await response.json()) };
}

async function main() {
  const { data } = await ask("login", { user: "bob", password: "bob" });
  auth = { "X-User-Id": data.userId, "X-Auth-Token": data.authToken };
  assert.equal((await ask("me")).username, "bob");
  assert.equal((await ask("info")).success, true);
  assert.equal((await ask("users.info?username=alice")).user.name, "Alice Ashford");

  const { channel } = await ask("channels.info?roomName=general");
  assert.equal(channel._id, "GENERAL");
  const rooms = (await ask("rooms.get")).update.map(({ _id }) => _id);
  const subscriptions = (await ask("subscriptions.get")).update.map(({ rid }) => rid);
  assert.deepEqual(rooms.sort(), subscriptions.sort());

  const { room } = await ask("im.create", { username: "carol" });
  const { message } = await ask("chat.sendMessage", { message: { rid: room._id, msg: "first" } });
  assert.ok(Date.parse(message.ts) > 0);
  await ask("chat.update", { roomId: room._id, msgId: message._id, text: "second" });
  assert.equal((await ask(`chat.getMessage?msgId=${message._id}`)).message.msg, "second");
  assert.equal((await ask(`im.history?roomId=${room._id}&count=1`)).messages[0].msg, "second");
  assert.equal((await ask("chat.delete", { roomId: room._id, msgId: message._id })).success, true);
  assert.equal((await ask(`chat.getMessage?msgId=${message._id}`)).status, 400);

  // What is not there says so.
  assert.equal((await ask("livechat/rooms")).status, 501);
  await ask("chat.postMessage", { channel: "#general", text: "written with fetch" });
}

main();
