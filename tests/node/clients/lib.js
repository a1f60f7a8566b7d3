// What every client has to get through, and how an outcome is reported.
//
//   node clients/<name>.js URL [TOKEN_OF_ALICE [TOKEN_OF_BOB]]        URL: http://127.0.0.1:3000
//
// Prints {"ready":name}, the steps (../steps.js) and {"done":true}. The tokens are used up: alice logs out. With
// SCENARIO=life the client goes through ../life.js instead.
//
// A client is opened by `open({http, ws}, on)`, where `http` and `ws` are the server's address for either scheme and
// `on` takes what comes unasked: on.event(collection, eventName, args) and on.close(). It gives:
//   login(token)                     the login result
//   call(method, ...params)          the method's result, rejects with the DDP error
//   subscribe(name, ...params)       a function that unsubscribes, rejects with the DDP error of `nosub`
//   close()                          ends the connection for good

const { equal, print, refusal, step } = require("../steps");
const { USERS } = require("../workspace");

/** Another workspace names its own: rooms that alice is in and is not in, and the ids of both. */
const {
  ROOM = "secret",
  FOREIGN_ROOM = "vault",
  ALICE_ID = USERS.alice._id,
  BOB_ID = USERS.bob._id,
} = process.env;
/** Stream options as the web client sends them. */
const OPTIONS = { useCollection: false, args: [] };

async function run(name, open) {
  if (process.env.SCENARIO) return require(`../${process.env.SCENARIO}`).run(name, open, connect);
  const [url, aliceToken = USERS.alice.token, bobToken = USERS.bob.token] = process.argv.slice(2);
  const address = { http: url, ws: url.replace(/^http/, "ws") };
  console.log = console.error;
  print({ ready: name });

  const { alice, bob } = await step("connect", async () => ({
    alice: await connect(open, address),
    bob: await connect(open, address),
  }));
  await step("login with a token", async () => {
    equal((await alice.client.login(aliceToken)).id, ALICE_ID, "user id");
    equal((await bob.client.login(bobToken)).id, BOB_ID, "user id");
  });

  const unsubscribe = await step("subscribe", async () => {
    await alice.client.subscribe("stream-notify-room", `${ROOM}/user-activity`, OPTIONS);
    await alice.client.subscribe("stream-notify-room", `${ROOM}/deleteMessage`, OPTIONS);
    return alice.client.subscribe("stream-room-messages", ROOM, OPTIONS);
  });

  await step("own message comes back", async () => {
    const _id = await send(alice, "from alice");
    const [message] = await alice.next("stream-room-messages", ROOM, ([message]) => message._id === _id);
    equal(message.msg, "from alice", "text");
    equal(message.u.username, "alice", "writer");
  });
  const fromBob = await step("another's message arrives", async () => {
    const _id = await send(bob, "from bob \u2028 \u{1F600}");
    const [message] = await alice.next("stream-room-messages", ROOM, ([message]) => message._id === _id);
    equal(message.msg, "from bob \u2028 \u{1F600}", "text");
    return _id;
  });
  await step("typing arrives", async () => {
    await bob.client.call("stream-notify-room", `${ROOM}/user-activity`, "bob", ["user-typing"], {});
    const [username, activities] = await alice.next("stream-notify-room", `${ROOM}/user-activity`);
    equal(username, "bob", "who types");
    equal(activities[0], "user-typing", "activity");
  });
  await step("deletion arrives", async () => {
    await bob.client.call("deleteMessage", { _id: fromBob });
    await alice.next("stream-notify-room", `${ROOM}/deleteMessage`, ([{ _id }]) => _id === fromBob);
  });

  await step("a foreign room is refused", async () => {
    const error = await refusal(alice.client.subscribe("stream-room-messages", FOREIGN_ROOM, OPTIONS));
    equal(error.error, "not-allowed", "error code");
  });
  await step("a method's error arrives with its code", async () => {
    const error = await refusal(alice.client.call("deleteMessage", { _id: "no-such-message" }));
    equal(error.error, "error-action-not-allowed", "error code");
    equal(error.reason, "Not allowed", "reason");
  });
  await step("an ended subscription is silent", async () => {
    await unsubscribe();
    const _id = await send(bob, "unheard");
    await bob.client.call("deleteMessage", { _id });
    // The deletion was sent after the message, by the same node: what was to come has come.
    await alice.next("stream-notify-room", `${ROOM}/deleteMessage`, ([deleted]) => deleted._id === _id);
    equal(alice.seen("stream-room-messages", ([message]) => message._id === _id), false, "message received");
  });

  await step("logout ends the connection", async () => {
    await alice.client.call("logout");
    await alice.closed;
  });
  await step("close", async () => {
    await bob.client.close();
    await bob.closed;
  });
  print({ done: true });
  process.exit(0);
}

/** A client with what it has received. */
async function connect(open, address) {
  const events = [];
  let changed = () => {};
  let close;
  const closed = new Promise((resolve) => (close = resolve));
  const client = await open(address, {
    event(collection, eventName, args) {
      events.push({ collection, eventName, args });
      changed();
    },
    close: () => close(),
  });
  return {
    client,
    closed,
    /** The arguments of the first such event, received already or to come; each is given out once. */
    async next(collection, eventName, wanted = () => true) {
      for (;;) {
        const at = events.findIndex((e) => e.collection === collection && e.eventName === eventName && wanted(e.args));
        if (at >= 0) return events.splice(at, 1)[0].args;
        await new Promise((resolve) => (changed = resolve));
      }
    },
    seen: (collection, wanted) => events.some((event) => event.collection === collection && wanted(event.args)),
  };
}

/** Sends a message and returns its id. */
async function send({ client }, msg) {
  const _id = `m${Date.now().toString(36)}${Math.random().toString(36).slice(2, 10)}`;
  const message = await client.call("sendMessage", { _id, rid: ROOM, msg });
  equal(message._id, _id, "id of the sent message");
  return _id;
}

module.exports = { run };
