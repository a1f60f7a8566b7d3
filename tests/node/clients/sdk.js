// @rocket.chat/sdk, the socket of its DDP driver.

const { Socket } = require("@rocket.chat/sdk/lib/drivers/ddp");

const { run } = require("./lib");

const STREAMS = ["stream-room-messages", "stream-notify-room", "stream-notify-user", "stream-notify-logged"];
const ignore = () => {};
const logger = { debug: ignore, info: ignore, warn: ignore, warning: ignore, error: console.error };

async function open({ http }, on) {
  const socket = new Socket({ host: http, logger, reopen: 60_000 });
  for (const stream of STREAMS) {
    socket.on(stream, ({ msg, fields }) => msg === "changed" && on.event(stream, fields.eventName, fields.args));
  }
  socket.on("close", on.close);
  await socket.open();
  // It waits for `ready` only, so that a refused or ended subscription would never settle. One runs at a time here.
  // A single listener, because its emitter skips listeners that follow one which removes itself.
  let ended;
  socket.on("nosub", ({ error }) => ended(error));
  const nosub = () => new Promise((resolve) => (ended = resolve));
  return {
    login: (resume) => socket.call("login", { resume }),
    call: (method, ...params) => socket.call(method, ...params),
    async subscribe(name, ...params) {
      const refused = nosub().then((error) => Promise.reject(error));
      const { id } = await Promise.race([socket.subscribe(name, params), refused]);
      return () => {
        const over = nosub();
        socket.unsubscribe(id);
        return over;
      };
    },
    close: () => socket.close(),
  };
}

run("sdk", open);
