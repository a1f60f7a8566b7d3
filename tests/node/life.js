// A client's whole life in the sandbox, which the test kills on request and starts again on the same port and data.
//
//   SCENARIO=life node clients/<name>.js URL
//
// Prints {"ready":name}, the steps (steps.js), {"need":"restart"} once, and {"done":true}. Reads one line when the
// server is back.

const { once } = require("node:events");
const readline = require("node:readline");

const { equal, print, refusal, step } = require("./steps");

const ALICE = "demo-alice";
const BOB = "demo-bob";
const OPTIONS = { useCollection: false, args: [] };

async function run(name, open, connect) {
  const [url] = process.argv.slice(2);
  const address = { http: url, ws: url.replace(/^http/, "ws") };
  console.log = console.error;
  // That a server is killed, or ends a subscription by itself, is more than some clients catch.
  process.removeAllListeners("unhandledRejection");
  for (const event of ["unhandledRejection", "uncaughtException"]) process.on(event, console.error);
  print({ ready: name });

  const tokens = await step("log in by REST", async () => ({ alice: await token(url, "alice"), bob: await token(url, "bob") }));
  /** Both connected and logged in, listening to what concerns them. */
  const arrive = async () => {
    const [alice, bob] = [await connect(open, address), await connect(open, address)];
    equal((await alice.client.login(tokens.alice)).id, ALICE, "user id");
    await alice.client.subscribe("stream-notify-logged", "user-status", OPTIONS);
    equal((await bob.client.login(tokens.bob)).id, BOB, "user id");
    await bob.client.subscribe("stream-notify-user", `${BOB}/subscriptions-changed`, OPTIONS);
    await bob.client.subscribe("stream-notify-logged", "user-status", OPTIONS);
    return { alice, bob };
  };
  let { alice, bob } = await step("log in with the token", arrive);
  const status = (person, id, wanted) => person.next("stream-notify-logged", "user-status", ([[uid, , code]]) => uid === id && code === wanted);
  const membership = (change, rid) => bob.next("stream-notify-user", `${BOB}/subscriptions-changed`, ([kind, subscription]) => kind === change && subscription.rid === rid);
  await step("the other comes online", () => status(alice, BOB, 1));

  const { rid } = await step("make a room with another", async () => {
    const made = await alice.client.call("createPrivateGroup", `life-${name}`, ["bob"]);
    await membership("inserted", made.rid);
    return made;
  });
  /** Subscribes to all of the room; the function returned ends the messages. */
  const listen = async (person) => {
    const unsubscribe = await person.client.subscribe("stream-room-messages", rid, OPTIONS);
    await person.client.subscribe("stream-notify-room", `${rid}/user-activity`, OPTIONS);
    await person.client.subscribe("stream-notify-room", `${rid}/deleteMessage`, OPTIONS);
    return unsubscribe;
  };
  const message = (person, wanted) => person.next("stream-room-messages", rid, ([message]) => wanted(message));
  const say = (person, msg) => person.client.call("sendMessage", { _id: id(), rid, msg });
  const unsubscribe = await step("subscribe", async () => {
    await listen(alice);
    return listen(bob);
  });

  const { _id } = await step("send and receive", async () => {
    const sent = await say(bob, "from bob \u2028 \u{1F600}");
    const [received] = await message(alice, ({ _id }) => _id === sent._id);
    equal(received.msg, "from bob \u2028 \u{1F600}", "text");
    equal(received.u.username, "bob", "writer");
    await message(bob, ({ _id }) => _id === sent._id);
    return sent;
  });
  await step("edit", async () => {
    await bob.client.call("updateMessage", { _id, rid, msg: "edited" });
    await message(alice, (message) => message._id === _id && message.msg === "edited" && message.editedAt);
  });
  await step("delete", async () => {
    await bob.client.call("deleteMessage", { _id });
    await alice.next("stream-notify-room", `${rid}/deleteMessage`, ([deleted]) => deleted._id === _id);
  });
  await step("type", async () => {
    await bob.client.call("stream-notify-room", `${rid}/user-activity`, "bob", ["user-typing"], {});
    await alice.next("stream-notify-room", `${rid}/user-activity`, ([who, what]) => who === "bob" && what[0] === "user-typing");
  });
  await step("presence", async () => {
    for (const [word, code] of [["busy", 3], ["away", 2], ["online", 1]]) {
      await bob.client.call("setUserStatus", word, "");
      await status(alice, BOB, code);
    }
  });
  await step("leave, and be brought back", async () => {
    await unsubscribe();
    await bob.client.call("leaveRoom", rid);
    await membership("removed", rid);
    await message(alice, ({ t, msg }) => t === "ul" && msg === "bob");
    await alice.client.call("addUsersToRoom", { rid, users: ["bob"] });
    await membership("inserted", rid);
    await bob.client.subscribe("stream-room-messages", rid, OPTIONS);
    const heard = await say(alice, "welcome back");
    await message(bob, ({ _id }) => _id === heard._id);
  });
  await step("removed by another: nothing more is heard, nothing can be said", async () => {
    await alice.client.call("removeUserFromRoom", { rid, username: "bob" });
    await membership("removed", rid);
    const unheard = await say(alice, "about bob");
    // What comes behind it on the same way has come.
    const direct = await alice.client.call("createDirectMessage", "bob");
    await alice.client.call("sendMessage", { _id: id(), rid: direct.rid, msg: "sorry" });
    await membership("updated", direct.rid);
    equal(bob.seen("stream-room-messages", ([message]) => message._id === unheard._id), false, "message received");
    equal((await refusal(say(bob, "let me in"))).error, "error-not-allowed", "error code");
    // Not the same subscription again: some clients take it for one they still have.
    equal((await refusal(bob.client.subscribe("stream-notify-room", `${rid}/webrtc`, OPTIONS))).error, "not-allowed", "error code");
    await alice.client.call("addUsersToRoom", { rid, users: ["bob"] });
  });

  const last = await step("the server is killed", async () => {
    const acknowledged = await say(alice, "the last one");
    print({ need: "restart" });
    await Promise.all([alice.closed, bob.closed]);
    return acknowledged;
  });
  const lines = readline.createInterface({ input: process.stdin });
  await once(lines, "line");
  lines.close();
  ({ alice, bob } = await step("come back with the same token", arrive));
  await step("nothing acknowledged is lost, and life goes on", async () => {
    const { messages } = await bob.client.call("loadHistory", rid);
    equal(messages.some((message) => message._id === last._id), true, "the last message is there");
    await listen(alice);
    await listen(bob);
    const sent = await say(alice, "still here");
    await message(bob, ({ _id }) => _id === sent._id);
  });
  await step("log out", async () => {
    await alice.client.call("logout");
    await alice.closed;
    await status(bob, ALICE, 0);
    const again = await connect(open, address);
    equal((await refusal(again.client.login(tokens.alice))).error, 403, "error code of the old token");
  });
  print({ done: true });
  process.exit(0);
}

async function token(url, name) {
  const response = await fetch(`${url}/api/v1/login`, { method: "POST", body: JSON.stringify({ user: name, password: name }) });
  return (await response.json()).data.authToken;
}

function id() {
  return `m${Date.now().toString(36)}${Math.random().toString(36).slice(2, 10)}`;
}

module.exports = { run };
