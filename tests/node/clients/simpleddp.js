// simpleddp with its login plugin.

const simpleDDP = require("simpleddp").default ?? require("simpleddp");
const { simpleDDPLogin } = require("simpleddp-plugin-login");
const WebSocket = require("ws");

const { run } = require("./lib");

// It also rejects a promise of its own, which nobody can catch, when a subscription is refused.
process.on("unhandledRejection", (error) => {
  if (error?.error !== "not-allowed") throw error;
});

async function open({ ws }, on) {
  const options = { endpoint: `${ws}/websocket`, SocketConstructor: WebSocket, autoReconnect: false };
  const server = new simpleDDP(options, [simpleDDPLogin]);
  server.on("changed", ({ collection, fields }) => on.event(collection, fields.eventName, fields.args));
  server.on("disconnected", on.close);
  await server.connect();
  return {
    login: (resume) => server.login({ resume }),
    call: (method, ...params) => server.call(method, ...params),
    async subscribe(name, ...params) {
      const subscription = server.subscribe(name, ...params);
      await subscription.ready();
      return () => {
        const ended = subscription.nosub();
        // More than stop(): the same subscription may be made again.
        subscription.remove();
        return ended;
      };
    },
    close: () => server.disconnect(),
  };
}

run("simpleddp", open);
