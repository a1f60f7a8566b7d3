// A DDP client for k6, over a raw websocket or in SockJS framing, and the metrics that all scenarios share.

// In newer versions of k6 `k6/websockets`.
import { WebSocket } from "k6/experimental/websockets";
import { Counter, Rate, Trend } from "k6/metrics";
import { framing, room, token, url } from "./settings.js";

export const metrics = {
  connect: new Trend("ddp_connect_time", true),
  login: new Trend("ddp_login_time", true),
  subscribe: new Trend("ddp_subscribe_time", true),
  method: new Trend("ddp_method_time", true),
  delivery: new Trend("ddp_delivery_time", true),
  deliveries: new Counter("ddp_deliveries"),
  missed: new Counter("ddp_missed"),
  failed: new Rate("ddp_failed"),
};

/** Nobody waits longer for an answer. */
const PATIENCE = 30_000;

export class Ddp {
  /** A connection after `connected`; rejects if there is none in time. */
  static open() {
    const client = new Ddp();
    const started = Date.now();
    return client.answer("connected").then(() => {
      metrics.connect.add(Date.now() - started);
      return client;
    });
  }

  constructor() {
    this.waiting = new Map();
    this.listeners = [];
    this.ids = 0;
    this.socket = new WebSocket(framing.url(url));
    this.socket.onopen = () => framing.opensItself && this.hello();
    this.socket.onmessage = ({ data }) => {
      if (data === "o") this.hello();
      else framing.messages(data).forEach((text) => this.received(JSON.parse(text)));
    };
    this.closed = new Promise((resolve) => {
      this.socket.onclose = () => {
        this.waiting.forEach(({ reject }) => reject(new Error("the connection is over")));
        resolve();
      };
    });
    this.socket.onerror = () => {};
  }

  hello() {
    this.send({ msg: "connect", version: "1", support: ["1"] });
  }

  send(message) {
    this.socket.send(framing.frame(JSON.stringify(message)));
  }

  /** The message that answers `key`; rejects when the connection ends or nothing comes. */
  answer(key) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(reject)(new Error(`no answer to ${key}`)), PATIENCE);
      const done = (settle) => (value) => {
        clearTimeout(timer);
        this.waiting.delete(key);
        settle(value);
      };
      this.waiting.set(key, { resolve: done(resolve), reject: done(reject) });
    });
  }

  received(message) {
    if (message.msg === "ping") return this.send({ msg: "pong", id: message.id });
    if (message.msg === "changed") return this.listeners.forEach((listener) => listener(message));
    const keys = { connected: "connected", ready: `sub ${message.subs?.[0]}`, nosub: `sub ${message.id}`, result: `method ${message.id}` };
    const waiting = this.waiting.get(keys[message.msg]);
    if (!waiting) return;
    if (message.error) waiting.reject(new Error(JSON.stringify(message.error)));
    else waiting.resolve(message.result);
  }

  async call(method, ...params) {
    const id = String(++this.ids);
    const started = Date.now();
    const answer = this.answer(`method ${id}`);
    this.send({ msg: "method", id, method, params });
    const result = await answer;
    (method === "login" ? metrics.login : metrics.method).add(Date.now() - started);
    return result;
  }

  /** Logs in with the token of this VU. */
  login() {
    return this.call("login", { resume: token() });
  }

  async subscribe(name, event) {
    const id = String(++this.ids);
    const started = Date.now();
    const answer = this.answer(`sub ${id}`);
    this.send({ msg: "sub", id, name, params: [event, false] });
    await answer;
    metrics.subscribe.add(Date.now() - started);
  }

  /** Calls back with the text of each message in the room. */
  onMessage(listener) {
    this.listeners.push(({ collection, fields }) => {
      if (collection === "stream-room-messages") fields.args.forEach((message) => listener(message.msg));
    });
  }

  sendMessage(msg) {
    return this.call("sendMessage", { rid: room, msg });
  }

  close() {
    this.socket.close();
    return this.closed;
  }
}

/** Text of a message that says when it left and how many its writer sent before. */
export const stamped = (run, number, padding = 0) => JSON.stringify({ run, number, at: Date.now() }) + " ".repeat(padding);

/** Notes what arrives from one writer: how long it took, and whether a number is missing. */
export function watch(client, run) {
  let last;
  client.onMessage((text) => {
    if (!text.startsWith(`{"run":"${run}"`)) return;
    const { number, at } = JSON.parse(text);
    metrics.deliveries.add(1);
    metrics.delivery.add(Date.now() - at);
    if (last !== undefined && number > last + 1) metrics.missed.add(number - last - 1);
    last = number;
  });
}

/** Runs one iteration of a client and notes whether it went well. */
export async function attempt(work) {
  try {
    await work();
    metrics.failed.add(false);
  } catch (error) {
    metrics.failed.add(true);
    console.warn(error.message);
  }
}

export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
