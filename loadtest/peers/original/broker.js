const { ServiceBroker, Serializers } = require("moleculer");
const EJSON = require("ejson");

/** EJSON text of the whole packet. */
class EjsonSerializer extends Serializers.Base {
  serialize(packet) {
    return Buffer.from(EJSON.stringify(packet));
  }

  deserialize(body) {
    return EJSON.parse(body.toString());
  }
}

/** A broker with the service `streamer`, which takes `events`: name to handler of the event's arguments. */
function createBroker(transporter, events) {
  const broker = new ServiceBroker({
    transporter,
    serializer: new EjsonSerializer(),
    heartbeatInterval: 10,
    heartbeatTimeout: 30,
    requestTimeout: 60_000,
    registry: { strategy: "RoundRobin", preferLocal: true },
    maxCallLevel: 100,
    cacher: "Memory",
    logLevel: "warn",
  });
  const handlers = Object.entries(events).map(([name, handle]) => [
    name,
    { context: true, handler: (context) => handle(...context.params) },
  ]);
  broker.createService({ name: "streamer", events: Object.fromEntries(handlers) });
  return broker;
}

module.exports = { createBroker };
