// What the environment says: where to go, as whom, how many. README.md lists it.

import { SharedArray } from "k6/data";
import exec from "k6/execution";

const number = (name, fallback) => Number(__ENV[name] ?? fallback);

/** Without a path: `ws://host:port` or `wss://chat.example.org`. */
export const url = __ENV.URL ?? "ws://127.0.0.1:3000";
export const room = __ENV.ROOM ?? "GENERAL";
export const clients = number("CLIENTS", 50);
export const seconds = number("SECONDS", 30);
/** Messages per second of a writer. */
export const rate = number("RATE", 1);
/** Bounds of the thresholds, in milliseconds. */
export const slowest = { answer: number("ANSWER_MS", 2_000), delivery: number("DELIVERY_MS", 1_000) };

/** Resume tokens, one a line: read once for all VUs. */
const tokens = new SharedArray("tokens", () =>
  open(__ENV.TOKENS ?? "tokens.txt").split("\n").map((line) => line.trim()).filter((line) => line));

/** The token of this VU; several share one where there are fewer. */
export const token = () => tokens[exec.vu.idInTest % tokens.length];

const letters = () => Math.random().toString(36).slice(2, 10).padEnd(8, "x");

const FRAMINGS = {
  raw: {
    url: (base) => `${base}/websocket`,
    opensItself: true,
    frame: (text) => text,
    messages: (data) => [data],
  },
  sockjs: {
    url: (base) => `${base}/sockjs/${100 + Math.floor(Math.random() * 900)}/${letters()}/websocket`,
    opensItself: false,
    frame: (text) => JSON.stringify([text]),
    messages: (data) => (data[0] === "a" ? JSON.parse(data.slice(1)) : []),
  },
};

/** `raw`, as mobile apps and bots speak, or `sockjs`, as browsers do. */
export const framing = FRAMINGS[__ENV.FRAMING ?? "raw"];
