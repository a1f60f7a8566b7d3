// What a hub makes of changes: from the write to the event on the bus.

const { cpu, pause, quantile, rss, until } = require("./measure");

const TOGETHER = 50;
/** Messages per second of a large workspace in its busiest hour. */
const STEADY = 50;

/**
 * Messages as fast as the database takes them, TOGETHER at a time (CPU and events per second), and then so many per second that
 * nothing queues (the delay). Each is timed from before its write to its event; in the steady part also to the database's answer with it,
 * which no hub can be ahead of (`database`), and from there (`own`).
 */
async function changes(place, under, { events }) {
  const messages = place.db.collection("rocketchat_message");
  const [sent, told, delays, database, own] = [new Map(), new Map(), [], [], []];
  let number = 0;
  place.heard["watch.messages"] = ({ message }) => {
    const at = sent.get(message._id);
    if (at === undefined) return;
    sent.delete(message._id);
    delays.push(performance.now() - at);
    const known = told.get(message._id);
    if (known === undefined) return;
    database.push(known - at);
    own.push(performance.now() - known);
  };
  const look = (chunk) => {
    for (const _id of sent.keys()) if (!told.has(_id) && chunk.includes(_id)) told.set(_id, performance.now());
  };
  const write = async (size) => {
    const batch = Array.from({ length: size }, () => message(`${under.node}-${number++}`));
    for (const { _id } of batch) sent.set(_id, performance.now());
    await messages.insertMany(batch);
  };
  // The hub is at work when it is heard.
  await until("the hub", async () => {
    await write(1);
    await pause(200);
    return delays.length > 0;
  });
  const rows = {};
  for (const [name, run] of [
    ["change event, a burst", () => burst(write, events)],
    ["change event, steady", () => steady(write, Math.ceil(events / 10))],
  ]) {
    sent.clear();
    delays.length = 0;
    place.answers.seen = name.endsWith("steady") ? look : () => {};
    const before = [cpu(under), performance.now()];
    await run();
    await until("all events", () => sent.size === 0);
    const [count, seconds] = [delays.length, (performance.now() - before[1]) / 1_000];
    const [p50, p99] = [0.5, 0.99].map((share) => quantile(delays, share));
    rows[name] = { cpu: (cpu(under) - before[0]) / count, rate: count / seconds, p50, p99, rss: rss(under) };
    if (own.length) Object.assign(rows[name], { database: quantile(database, 0.5), own: quantile(own, 0.5), "own p99": quantile(own, 0.99) });
  }
  place.heard["watch.messages"] = () => {};
  place.answers.seen = () => {};
  await messages.deleteMany({});
  return rows;
}

async function burst(write, events) {
  for (let at = 0; at < events; at += TOGETHER) await write(TOGETHER);
}

/** A write is begun on time whether or not the one before it has ended. */
async function steady(write, events) {
  const [begun, writes] = [performance.now(), []];
  for (let n = 0; n < events; n++) {
    await pause(Math.max(0, begun + (1_000 * n) / STEADY - performance.now()));
    writes.push(write(1));
  }
  await Promise.all(writes);
}

const message = (_id) => ({ _id, rid: "room-1", msg: `message ${_id}`, ts: new Date(), u: { _id: "user-1", username: "user-1" }, _updatedAt: new Date() });

module.exports = changes;
