// ddp.js, which hands out raw messages: answers are matched here.

const DDP = require("ddp.js").default;
const WebSocket = require("ws");

const { run } = require("./lib");

async function open({ ws }, on) {
  const server = new DDP({ endpoint: `${ws}/websocket`, SocketConstructor: WebSocket, autoReconnect: false });
  server.on("changed", ({ collection, fields }) => on.event(collection, fields.eventName, fields.args));
  server.on("disconnected", on.close);
  await new Promise((resolve) => server.on("connected", resolve));

  /** Waits for the first message of one of these kinds that answers the id. */
  const answer = (id, ...kinds) =>
    new Promise((resolve, reject) => {
      for (const kind of kinds) {
        server.on(kind, (message) => {
          if (message.id !== id && !message.subs?.includes(id)) return;
          if (message.error) reject(message.error);
          else resolve(message);
        });
      }
    });
  const call = async (method, ...params) => (await answer(server.method(method, params), "result")).result;
  return {
    login: (resume) => call("login", { resume }),
    call,
    async subscribe(name, ...params) {
      const id = server.sub(name, params);
      await answer(id, "ready", "nosub");
      return () => answer(server.unsub(id), "nosub");
    },
    close: () => server.disconnect(),
  };
}

run("ddpjs", open);
