// A Moleculer node that only listens, on the bare NATS client: what is least in the way of the server around it.

const { connect } = require("nats");

const HEARTBEAT_MS = 5_000;

/** Joins as a service `streamer` that takes `events`: name to handler of the event's arguments. */
async function join(transporter, name, events) {
  const nats = await connect({ servers: transporter.replace("nats://", "") });
  const sender = `${name}-${process.pid}`;
  const send = (subject, packet) => nats.publish(subject, JSON.stringify({ ...packet, ver: "4", sender }));
  const hear = (subject, handle) =>
    nats.subscribe(subject, { callback: (error, message) => error ?? handle(JSON.parse(Buffer.from(message.data).toString())) });

  const service = {
    name: "streamer",
    fullName: "streamer",
    settings: {},
    metadata: {},
    actions: {},
    events: Object.fromEntries(Object.keys(events).map((event) => [event, { name: event }])),
  };
  const info = {
    services: [service],
    ipList: ["127.0.0.1"],
    hostname: name,
    client: { type: "nodejs", version: "0", langVersion: process.version },
    config: {},
    instanceID: `${sender}-${Date.now()}`,
    metadata: {},
    seq: 1,
  };

  hear(`MOL.EVENT.${sender}`, ({ event, data }) => events[event]?.(...data));
  for (const subject of ["MOL.DISCOVER", `MOL.DISCOVER.${sender}`])
    hear(subject, (packet) => packet.sender !== sender && send(`MOL.INFO.${packet.sender}`, info));
  for (const subject of ["MOL.PING", `MOL.PING.${sender}`])
    hear(subject, ({ sender: from, time, id }) => send(`MOL.PONG.${from}`, { time, id, arrived: Date.now() }));

  send("MOL.DISCOVER", {});
  send("MOL.INFO", info);
  setInterval(() => send("MOL.HEARTBEAT", { cpu: 0 }), HEARTBEAT_MS);
  // A peer whose bus is gone has nothing left to serve.
  nats.closed().then(() => process.exit(1));
  await nats.flush();
}

module.exports = { join };
