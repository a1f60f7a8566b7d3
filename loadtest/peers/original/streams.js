const EJSON = require("ejson");
const { Sender } = require("ws");

const TEXT = { fin: true, mask: false, readOnly: false, opcode: 1, rsv1: false };

/** Who listens to which event of which stream, and the way to them. */
class Streams {
  /** Stream and event name → sockets; a socket is there once per subscription. */
  #listeners = new Map();

  /** Adds a subscription and returns what ends it. */
  add(stream, eventName, socket) {
    const key = `${stream}/${eventName}`;
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners);
    const listener = { socket };
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(key);
    };
  }

  /** Builds the frame once; every send waits for the one before it. */
  async emit(stream, eventName, args) {
    const listeners = this.#listeners.get(`${stream}/${eventName}`);
    if (!listeners) return;
    const message = { msg: "changed", collection: stream, id: "id", fields: { eventName, args } };
    const frame = Buffer.concat(Sender.frame(Buffer.from(EJSON.stringify(message)), TEXT));
    for (const { socket } of listeners) {
      if (socket.readyState !== socket.OPEN) continue;
      // A socket that fails says so by its close event.
      await new Promise((resolve) => socket._sender.sendFrame([frame], resolve));
    }
  }
}

module.exports = { Streams };
