// A DDP client of our own for what has none: any transport that carries texts. Values are EJSON.

const EJSON = require("ejson");

/** `transport` has send(text); the functions returned are called with what comes and when it ends. */
function ddp(transport, on) {
  const waiting = new Map();
  let count = 0;

  /** Sends a message that is answered under its id, or under a fixed name. */
  function ask(message, answer = message.id) {
    return new Promise((resolve, reject) => {
      waiting.set(answer, ({ error, ...reply }) => (error ? reject(error) : resolve(reply)));
      transport.send(EJSON.stringify(message));
    });
  }

  function answered(id, reply) {
    waiting.get(id)?.(reply);
    waiting.delete(id);
  }

  const client = {
    connect: () => ask({ msg: "connect", version: "1", support: ["1", "pre2", "pre1"] }, "connected"),
    login: (resume) => client.call("login", { resume }),
    call: async (method, ...params) => (await ask({ msg: "method", id: `${++count}`, method, params })).result,
    async subscribe(name, ...params) {
      const id = `${++count}`;
      await ask({ msg: "sub", id, name, params });
      return () => ask({ msg: "unsub", id });
    },
  };

  function message(text) {
    const received = EJSON.parse(text);
    const { msg, id, collection, fields } = received;
    if (msg === "ping") transport.send(EJSON.stringify({ msg: "pong", id }));
    if (msg === "connected") answered("connected", received);
    if (msg === "result" || msg === "nosub") answered(id, received);
    if (msg === "ready") for (const ready of received.subs) answered(ready, {});
    if (msg === "changed" && fields?.eventName) on.event(collection, fields.eventName, fields.args);
  }

  return { client, message };
}

module.exports = { ddp };
