// The console: one page, no build step. Everything that people wrote is shown as text, never as markup.

import { Ddp, randomId } from "/ddp.js";
import { setUpExperiments } from "/experiments.js";
import { watchFigures } from "/figures.js";
import { showFrame } from "/frames.js";

const PEOPLE = ["alice", "bob", "carol", "dave"];
const STATUSES = ["offline", "online", "away", "busy"];
const TYPING_MS = 5_000;
// Per tab: two tabs are two people.
const SESSION = "ddp-edge-session";

const $ = (id) => document.getElementById(id);
const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/websocket`;

let me; // {id, token, username}
let rooms = new Map(); // rid -> {name, kind, unread}
let people = new Map(); // uid -> {username, status}
let room; // rid
let roomSubscriptions = [];
let typists = new Map(); // name -> timer

const ddp = new Ddp(url, {
  onState(state, detail) {
    $("connection").dataset.state = state;
    $("connection").textContent = state === "closed" ? detail : state;
    for (const field of $("compose").elements) field.disabled = state !== "connected" || !room;
  },
  onFrame: showFrame,
  onConnected() {
    const saved = sessionStorage.getItem(SESSION);
    if (saved) login({ resume: JSON.parse(saved).token });
  },
});

// --- login

for (const name of PEOPLE) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name[0].toUpperCase() + name.slice(1);
  button.addEventListener("click", () => login({ user: { username: name }, password: name }, name));
  $("people").append(button);
}

async function login(credentials, username) {
  $("login-error").textContent = "";
  try {
    const { id, token } = await ddp.call("login", credentials);
    const saved = JSON.parse(sessionStorage.getItem(SESSION) ?? "{}");
    me = { id, token, username: username ?? saved.username };
    sessionStorage.setItem(SESSION, JSON.stringify(me));
    await enter();
  } catch (error) {
    if (!error.error) return; // the connection closed; it comes back by itself
    leave();
    $("login-error").textContent = error.message;
  }
}

function leave() {
  sessionStorage.removeItem(SESSION);
  me = room = undefined;
  $("login").hidden = false;
  $("app").hidden = $("me").hidden = true;
}

$("logout").addEventListener("click", () => {
  leave();
  ddp.call("logout").catch(() => {});
});

async function enter() {
  $("login").hidden = true;
  $("app").hidden = $("me").hidden = false;
  $("me-name").textContent = me.username;
  document.title = `${me.username} – ddp-edge sandbox`;
  for (const event of ["subscriptions-changed", "rooms-changed"]) {
    ddp.subscribe("notify-user", `${me.id}/${event}`, () => loadRooms());
  }
  ddp.subscribe("notify-logged", "user-status", ([id, username, code]) => setPresence(id, username, STATUSES[code]));
  await Promise.all([loadRooms(), loadPeople()]);
  await openRoom(rooms.has(room) ? room : rooms.keys().next().value);
}

// --- rooms and people

async function loadRooms() {
  const list = await ddp.call("subscriptions/get");
  rooms = new Map(
    list
      .sort((a, b) => a.t.localeCompare(b.t) || a.name.localeCompare(b.name))
      .map((s) => [s.rid, { name: s.name, kind: s.t, unread: s.rid === room ? 0 : (s.unread ?? 0) }]),
  );
  if (room && !rooms.has(room)) closeRoom("You are no longer in this room.");
  showRooms();
}

function showRooms() {
  const buttons = Array.from(rooms, ([rid, { name, kind, unread }]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.unread = String(unread > 0);
    button.setAttribute("aria-pressed", String(rid === room));
    button.append(text("span", "name", `${{ c: "#", p: "🔒", d: "@" }[kind] ?? ""} ${name}`));
    if (unread) button.append(text("span", "unread", String(unread)));
    button.addEventListener("click", () => openRoom(rid));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("rooms").replaceChildren(...buttons);
}

async function loadPeople() {
  const response = await fetch("/api/v1/users.presence", { headers: { "X-User-Id": me.id, "X-Auth-Token": me.token } });
  const { users } = await response.json();
  people = new Map(users.map(({ _id, username, status }) => [_id, { username, status }]));
  showPeople();
}

function setPresence(id, username, status) {
  people.set(id, { username, status });
  showPeople();
}

function showPeople() {
  const items = Array.from(people.values(), ({ username, status }) => {
    const item = document.createElement("li");
    const dot = text("span", "dot", "");
    dot.dataset.status = status;
    item.append(dot, `${username} `, text("small", "", status));
    return item;
  });
  $("users").replaceChildren(...items);
}

// --- one room

async function openRoom(rid) {
  if (!rid) return;
  roomSubscriptions.forEach((id) => ddp.unsubscribe(id));
  room = rid;
  showSection("chat");
  $("room-name").textContent = rooms.get(rid).name;
  $("notice").textContent = "";
  const refused = () => closeRoom("The gateway refuses this room.");
  roomSubscriptions = [
    ddp.subscribe("room-messages", rid, showMessage, refused),
    ddp.subscribe("notify-room", `${rid}/user-activity`, showTyping),
    ddp.subscribe("notify-room", `${rid}/deleteMessage`, ({ _id }) => messageItem(_id)?.remove()),
  ];
  const { messages } = await ddp.call("loadHistory", rid, null, 50);
  $("messages").replaceChildren();
  messages.reverse().forEach(showMessage);
  for (const field of $("compose").elements) field.disabled = false;
  rooms.get(rid).unread = 0;
  showRooms();
  await ddp.call("readMessages", rid);
}

function closeRoom(why) {
  roomSubscriptions.forEach((id) => ddp.unsubscribe(id));
  roomSubscriptions = [];
  room = undefined;
  $("room-name").textContent = "Choose a room";
  $("messages").replaceChildren();
  for (const field of $("compose").elements) field.disabled = true;
  $("notice").textContent = why;
}

function messageItem(id) {
  return [...$("messages").children].find((item) => item.dataset.id === id);
}

const SYSTEM = { uj: "joined", ul: "left", au: "was added", ru: "was removed" };

function showMessage(message) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = document.createElement("li");
  item.dataset.id = message._id;
  const time = text("time", "", new Date(message.ts.$date).toLocaleTimeString());
  if (SYSTEM[message.t]) {
    item.append(text("span", "system", `${message.msg} ${SYSTEM[message.t]} `), time);
  } else {
    item.append(text("span", "who", message.u.username), time, document.createElement("br"), text("span", "text", message.msg));
    if (message.editedAt) item.append(text("span", "edited", " (edited)"));
    if (message.u._id === me.id) item.append(action("Edit", () => edit(message)), action("Delete", () => remove(message)));
  }
  const present = messageItem(message._id);
  if (present) present.replaceWith(item);
  else list.append(item);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function edit(message) {
  const changed = prompt("Edit your message", message.msg);
  if (changed && changed !== message.msg) attempt("updateMessage", { _id: message._id, rid: message.rid, msg: changed });
}

function remove(message) {
  if (confirm("Delete this message?")) attempt("deleteMessage", { _id: message._id });
}

function attempt(method, ...params) {
  $("notice").textContent = "";
  return ddp.call(method, ...params).catch((error) => ($("notice").textContent = error.message));
}

// --- writing

let lastTyping = 0;

function typing(activities) {
  ddp.call("stream-notify-room", `${room}/user-activity`, me.username, activities, {}).catch(() => {});
}

$("text").addEventListener("input", () => {
  if (Date.now() - lastTyping < TYPING_MS / 2 || !ddp.isOpen) return;
  lastTyping = Date.now();
  typing(["user-typing"]);
});

$("compose").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const msg = $("text").value.trim();
  if (!msg || !room) return;
  $("text").value = "";
  lastTyping = 0;
  typing([]);
  attempt("sendMessage", { _id: randomId(), rid: room, msg });
});

function showTyping(name, activities) {
  clearTimeout(typists.get(name));
  typists.delete(name);
  if (activities.includes("user-typing")) {
    const stop = setTimeout(() => showTyping(name, []), TYPING_MS);
    typists.set(name, stop);
  }
  const names = [...typists.keys()];
  $("typing").textContent = names.length ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing` : "";
}

// --- page

function text(tag, className, content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = content;
  return element;
}

function action(label, run) {
  const button = text("button", "", label);
  button.type = "button";
  button.addEventListener("click", run);
  return button;
}

function showSection(id) {
  for (const button of $("sections").children) {
    const shown = button.dataset.section === id;
    button.setAttribute("aria-pressed", String(shown));
    $(button.dataset.section).toggleAttribute("data-shown", shown);
  }
}

for (const button of $("sections").children) button.addEventListener("click", () => showSection(button.dataset.section));
showSection("chat");
setUpExperiments({ url, call: (...args) => ddp.call(...args), room: () => room, token: () => me.token });
watchFigures();
