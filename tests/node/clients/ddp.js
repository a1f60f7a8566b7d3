// ddp, the first client by a plain address, the second by way of /sockjs/info.

const DDPClient = require("ddp");

const { run } = require("./lib");

let opened = 0;

async function open({ http, ws }, on) {
  const { hostname: host, port } = new URL(http);
  const where = opened++ === 0 ? { url: `${ws}/websocket` } : { host, port, useSockJs: true };
  const server = new DDPClient({ ...where, autoReconnect: false, maintainCollections: false });
  server.on("message", (text) => {
    const { msg, collection, fields } = server.EJSON.parse(text);
    if (msg === "changed") on.event(collection, fields.eventName, fields.args);
  });
  server.on("socket-close", on.close);
  await new Promise((resolve, reject) => server.connect((error) => (error ? reject(new Error(error)) : resolve())));

  // A call is over for it when both answers are there.
  const call = (method, ...params) =>
    new Promise((resolve, reject) => {
      let outcome;
      const failedOrValue = (error, value) => (outcome = () => (error ? reject(error) : resolve(value)));
      server.call(method, params, failedOrValue, () => outcome());
    });
  return {
    login: (resume) => call("login", { resume }),
    call,
    async subscribe(name, ...params) {
      let id;
      await new Promise((resolve, reject) => {
        id = server.subscribe(name, params, (error) => (error ? reject(error) : resolve()));
      });
      return () =>
        new Promise((resolve) => {
          server.on("message", (text) => {
            const message = server.EJSON.parse(text);
            if (message.msg === "nosub" && message.id === id) resolve();
          });
          server.unsubscribe(id);
        });
    },
    close: () => server.close(),
  };
}

run("ddp", open);
