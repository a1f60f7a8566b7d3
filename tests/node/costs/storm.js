// Sockets come, go and flap, all at once: what presence makes of it.

const { cpu, commands, pause, rss, until } = require("./measure");

/**
 * Everybody connects; everybody is dropped; everybody comes back, and flaps so many times on the way; everybody is dropped and
 * back at once. The figures of each: CPU µs per call, commands that write and that read, statuses told, when the last one was
 * told, and when the database held the truth (both in seconds from the first call).
 */
async function storm(place, under, { storm: count, flaps }) {
  const users = Array.from({ length: count }, (_, n) => n);
  const connect = (n, life = 0) => insist(place, "presence.newConnection", n, life);
  const drop = (n, life = 0) => insist(place, "presence.removeConnection", n, life);
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
    place.heard["presence.status"] = () => ([told, last] = [told + 1, since()]);
    const before = [cpu(under), ...commands(place)];
    await Promise.all(users.map((n) => one(n)));
    const answered = since();
    await until(`${count} ${status}`, async () => (await right(place, status)) >= count);
    const truth = since();
    const [spent, written, read] = [cpu(under), ...commands(place)].map((now, index) => now - before[index]);
    figures[`storm: ${name}`] = { cpu: spent / (calls * count), written, read, told, answered, last, truth };
  }
  place.heard["presence.status"] = () => {};
  figures["storm: drop and back"].rss = rss(under);
  await until("an end", async () => (await ghosts(place)) === 0);
  await place.db.collection("usersSessions").deleteMany({});
  await place.db.collection("users").updateMany({}, { $set: { status: "offline", statusConnection: "offline" } });
  return figures;
}

/** Says it until it is heard, as a gateway does. */
async function insist({ broker }, action, n, life) {
  for (;;) {
    try {
      return await broker.call(action, [`user-${n}`, `session-${n}-${life}`, "asker"]);
    } catch {
      // Once more, and not at once: where nobody answers, a refusal takes no time, and nothing else would ever run here.
      await pause(100 + Math.random() * 100);
    }
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
