// asteroid.

const { createClass } = require("asteroid");
const WebSocket = require("ws");

const { run } = require("./lib");

const Asteroid = createClass();

async function open({ ws }, on) {
  const server = new Asteroid({ endpoint: `${ws}/websocket`, SocketConstructor: WebSocket, autoReconnect: false });
  server.ddp.on("changed", ({ collection, fields }) => on.event(collection, fields.eventName, fields.args));
  server.on("disconnected", on.close);
  // It first tries a token that it might have stored, by whichever of its kind, and forgets its user when there is none.
  await new Promise((resolve) => ["loggedIn", "loggedOut"].map((event) => server.on(event, resolve)));
  return {
    login: async (resume) => ({ id: await server.login({ resume }) }),
    call: (method, ...params) => server.call(method, ...params),
    async subscribe(name, ...params) {
      const subscription = server.subscribe(name, ...params);
      await new Promise((resolve, reject) => {
        subscription.on("ready", resolve);
        subscription.on("error", reject);
      });
      return () => {
        const ended = new Promise((resolve) => {
          server.ddp.on("nosub", ({ id }) => id === subscription.id && resolve());
        });
        server.unsubscribe(subscription.id);
        return ended;
      };
    },
    close: () => server.disconnect(),
  };
}

run("asteroid", open);
