// How a Rocket.Chat process sets up Moleculer (backplane.md 2.1, 3, 5.6).

const { ServiceBroker, Serializers, Errors } = require("moleculer");
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

/** An error that a client may see. */
class MeteorError extends Error {
  constructor(error, reason, details) {
    super(reason ? `${reason} [${error}]` : `[${error}]`);
    Object.assign(this, { error, reason, details, isClientSafe: true, errorType: "Meteor.Error" });
  }
}

/** Meteor errors cross the wire with four fields of their own, but without their code. */
class MeteorRegenerator extends Errors.Regenerator {
  extractPlainError(error) {
    const plain = super.extractPlainError(error);
    if (error.errorType !== "Meteor.Error") return plain;
    const { isClientSafe, errorType, reason, details } = error;
    return { ...plain, isClientSafe, errorType, reason, details };
  }

  restoreCustomError(plain) {
    if (plain.errorType !== "Meteor.Error") return undefined;
    // Real peers take the message for the code, so the code is damaged once per hop.
    return new MeteorError(plain.message, plain.reason, plain.details);
  }
}

function createBroker(environment, nodeID) {
  const seconds = (name, otherwise) => Number(environment[name] || otherwise);
  return new ServiceBroker({
    nodeID,
    namespace: environment.MS_NAMESPACE || "",
    transporter: environment.TRANSPORTER,
    serializer: new EjsonSerializer(),
    errorRegenerator: new MeteorRegenerator(),
    heartbeatInterval: seconds("HEARTBEAT_INTERVAL", 10),
    heartbeatTimeout: seconds("HEARTBEAT_TIMEOUT", 30),
    requestTimeout: seconds("REQUEST_TIMEOUT", 60) * 1000,
    registry: { strategy: environment.BALANCE_STRATEGY || "RoundRobin", preferLocal: true },
    maxCallLevel: 100,
    cacher: "Memory",
    logLevel: environment.MOLECULER_LOG_LEVEL || "warn",
    metrics: environment.MS_METRICS === "true" && {
      enabled: true,
      reporter: {
        type: "Prometheus",
        options: {
          port: Number(environment.MS_METRICS_PORT || 9458),
          defaultLabels: ({ broker }) => ({ namespace: broker.namespace, nodeID: broker.nodeID }),
        },
      },
    },
  });
}

/**
 * A Moleculer service in Rocket.Chat's shape: methods become actions with positional parameters, events get their
 * arguments spread. `observed(kind, name, args, from)` is told of everything that comes in.
 */
function service(name, { methods = {}, events = {}, dependencies = ["settings", "license"] }, observed) {
  const actions = {};
  for (const [method, run] of Object.entries(methods)) {
    actions[method] = async (context) => {
      // Like the original this throws for parameters that are no array.
      const args = [...context.params];
      observed("call", `${name}.${method}`, args, context.nodeID);
      return run(...args);
    };
  }
  const handlers = {};
  for (const [event, run] of Object.entries(events)) {
    handlers[event] = {
      // Says that the handler takes a context; Moleculer would otherwise guess it from the parameter's name.
      context: true,
      handler(context) {
        // Moleculer's own events stay on their node and carry an object.
        if (event.startsWith("$")) return run?.(context.params);
        observed("event", event, context.params, context.nodeID);
        return run?.(...context.params);
      },
    };
  }
  return { name, actions, events: handlers, dependencies };
}

/** The methods that a line has, by their names. */
function only(names, methods) {
  return Object.fromEntries(names.map((name) => [name, methods[name]]));
}

module.exports = { createBroker, only, service, MeteorError, EjsonSerializer };
