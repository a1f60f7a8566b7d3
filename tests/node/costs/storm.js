// Sockets come, go and flap, all at once: what presence makes of it.

const { cpu, commands, pause, quantile, rss, until } = require("./measure");

/** Who changes their status in the middle of it. */
const LONE = "lone";

/**
 * Everybody connects; everybody is dropped; everybody comes back, and flaps so many times on the way; everybody is dropped and
 * back at once. The figures of each: CPU µs per call, commands that write and that read, statuses told, when the last one was
 * told, and when the database held the truth (both in seconds from the first call). Meanwhile one more user changes their status again
 * and again: how long each change took from the call until it was told (`lone p50`, `lone p99`, ms; its commands are among the others').
 */
async function storm(place, under, { storm: count, flaps }) {
  const users = Array.from({ length: count }, (_, n) => n);
  const connect = (n, life = 0) => insist(place, "presence.newConnection", `user-${n}`, `session-${n}-${life}`, "asker");
  const drop = (n, life = 0) => insist(place, "presence.removeConnection", `user-${n}`, `session-${n}-${life}`, "asker");
  const flap = async (n) => {
    for (let life = 1; life <= flaps; life++) {
      await connect(n, life);
      await drop(n, life);
    }
    await connect(n);
  };
  const back = async (n) => {
    await drop(n);
    await connect(n);
  };
  await place.db.collection("users").insertOne({ _id: LONE, username: LONE, status: "offline", statusConnection: "offline" });
  await insist(place, "presence.newConnection", LONE, `${LONE}-0`, "asker");
  const lone = { turn: 0, told: () => {} };
  const figures = {};
  for (const [name, status, calls, one] of [
    ["connect", "online", 1, connect],
    ["drop", "offline", 1, drop],
    ["flap", "online", 2 * flaps + 1, flap],
    ["drop and back", "online", 2, back],
  ]) {
    let [told, last] = [0, 0];
    const begun = performance.now();
    const since = () => (performance.now() - begun) / 1_000;
    Object.assign(lone, { delays: [], ends: false });
    place.heard["presence.status"] = ({ user }) => {
      if (user._id === LONE) lone.told();
      else [told, last] = [told + 1, since()];
    };
    const before = [cpu(under), ...commands(place)];
    const changing = change(place, lone);
    await Promise.all(users.map((n) => one(n)));
    lone.ends = true;
    const answered = since();
    await until(`${count} ${status}`, async () => (await right(place, status)) >= count);
    const truth = since();
    await changing;
    const [spent, written, read] = [cpu(under), ...commands(place)].map((now, index) => now - before[index]);
    const [p50, p99] = [0.5, 0.99].map((share) => quantile(lone.delays, share));
    figures[`storm: ${name}`] = { cpu: spent / (calls * count), written, read, told, answered, last, truth, "lone p50": p50, "lone p99": p99 };
  }
  place.heard["presence.status"] = () => {};
  figures["storm: drop and back"].rss = rss(under);
  await until("an end", async () => (await ghosts(place)) === 0);
  await place.db.collection("usersSessions").deleteMany({});
  await place.db.collection("users").deleteOne({ _id: LONE });
  await place.db.collection("users").updateMany({}, { $set: { status: "offline", statusConnection: "offline" } });
  return figures;
}

/** Says it until it is heard, as a gateway does. */
async function insist({ broker }, action, ...params) {
  for (;;) {
    try {
      return await broker.call(action, params);
    } catch {
      // Once more, and not at once: where nobody answers, a refusal takes no time, and nothing else would ever run here.
      await pause(100 + Math.random() * 100);
    }
  }
}

/** One user is busy and away by turns, until the storm ends; neither is among what the storm counts. */
async function change(place, lone) {
  while (!lone.ends) {
    const begun = performance.now();
    const told = new Promise((resolve) => (lone.told = resolve));
    await insist(place, "presence.setStatus", LONE, lone.turn++ % 2 ? "away" : "busy");
    await told;
    lone.delays.push(performance.now() - begun);
    await pause(20);
  }
}

/** How many users have this status. */
const right = ({ db }, status) => db.collection("users").countDocuments({ status, statusConnection: status });

/** How many entries there are of sockets that have ended. */
async function ghosts({ db }) {
  const sessions = await db.collection("usersSessions").find({}).toArray();
  return sessions.flatMap(({ connections }) => connections).filter(({ id }) => !id.endsWith("-0")).length;
}

module.exports = storm;
