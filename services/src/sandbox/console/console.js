// The console: one page, no build step, the browser's own WebSocket.

import { Ddp, randomId } from "/ddp.js";
import { $, action, avatar, element, kindMark } from "/dom.js";
import { setUpExperiments } from "/experiments.js";
import { watchFigures } from "/figures.js";
import { showFrame } from "/frames.js";
import { focusMessage, isEdited, messageItem, useKeyboard } from "/messages.js";
import { setUpTour } from "/tour.js";

const PEOPLE = ["alice", "bob", "carol", "dave"];
const STATUSES = ["offline", "online", "away", "busy"];
const TYPING_MS = 5_000;
const READ_MS = 2_000;
const HISTORY = 50;
const MESSAGES_KEPT = 300;
// Per tab: two tabs are two people.
const SESSION = "ddp-edge-session";

const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/websocket`;

let me; // {id, token, username}
let rooms = new Map(); // rid -> {name, kind, unread}
let people = new Map(); // uid -> {username, status, text}
let heard = new Set(); // uids whose status came over the socket
let room; // rid
let roomSubscriptions = [];
let connected = false;

const ddp = new Ddp(url, {
  onState(state, said) {
    connected = state === "connected";
    $("connection").dataset.state = state;
    $("connection").textContent = state;
    if (said && state === "closed") $("last-close").textContent = said;
    showCompose();
  },
  onFrame: showFrame,
  onConnected() {
    const saved = sessionStorage.getItem(SESSION);
    if (saved) login({ resume: JSON.parse(saved).token });
  },
});

// --- login

for (const name of PEOPLE) {
  const button = action("", () => login({ user: { username: name }, password: name }, name));
  button.append(avatar(name), name[0].toUpperCase() + name.slice(1));
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
  me = undefined;
  forgetRoom();
  document.title = "ddp-edge sandbox";
  $("login").hidden = false;
  $("app").hidden = $("me").hidden = true;
}

$("logout").addEventListener("click", () => {
  leave();
  ddp.call("logout").catch(() => {});
});

async function enter() {
  const isNew = $("app").hidden;
  $("login").hidden = true;
  $("app").hidden = $("me").hidden = false;
  $("me-name").textContent = me.username;
  document.title = `${me.username} – ddp-edge sandbox`;
  ddp.subscribe("notify-user", `${me.id}/subscriptions-changed`, roomChanged);
  heard = new Set();
  ddp.subscribe("notify-logged", "user-status", ([id, username, code, text]) => {
    heard.add(id);
    people.set(id, { username, status: STATUSES[code], text });
    showPeople();
  });
  const [subscriptions] = await Promise.all([ddp.call("subscriptions/get"), loadPeople()]);
  rooms = new Map(subscriptions.map((subscription) => [subscription.rid, asRoom(subscription)]));
  showRooms();
  const first = rooms.has("GENERAL") ? "GENERAL" : rooms.keys().next().value;
  // Who only comes back stays where he was.
  if (isNew) showSection("chat");
  await openRoom(rooms.has(room) ? room : first);
  if (isNew) $("text").focus();
}

// --- rooms

function asRoom({ rid, name, t, unread }) {
  return { name, kind: t, unread: rid === room ? 0 : (unread ?? 0) };
}

function roomChanged(change, subscription) {
  if (change === "removed") {
    rooms.delete(subscription.rid);
    if (subscription.rid === room) closeRoom(leaving === room ? "" : "You are no longer in this room.");
  } else {
    rooms.set(subscription.rid, asRoom(subscription));
    if (subscription.rid === room && subscription.unread) readSoon();
  }
  showRooms();
}

function showRooms() {
  const order = ([, a], [, b]) => a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name);
  const items = [...rooms].sort(order).map(([rid, { name, kind, unread }]) => {
    const button = action("", () => chooseRoom(rid));
    button.dataset.rid = rid;
    button.dataset.unread = String(unread > 0);
    button.setAttribute("aria-pressed", String(rid === room));
    button.append(kindMark(kind), element("span", "name", name));
    if (unread) button.append(element("span", "unread", String(unread)), element("span", "unseen", "unread"));
    const item = element("li");
    item.append(button);
    return item;
  });
  replace($("rooms"), items);
}

/** Replaces a list of buttons; whoever had the focus by keyboard keeps it. */
function replace(list, items) {
  const at = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...items);
  items[at]?.firstElementChild.focus();
}

$("more").addEventListener("toggle", async () => {
  if (!$("more").open) return;
  const { channels } = await rest("channels.list");
  const items = channels
    .filter(({ _id }) => !rooms.has(_id))
    .map(({ _id, name }) => {
      const button = action("", () => enterRoom("joinRoom", _id));
      button.append(kindMark("c"), element("span", "name", `Join ${name}`));
      const item = element("li");
      item.append(button);
      return item;
    });
  $("joinable").replaceChildren(...items);
});

$("create").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const name = $("new-room").value.trim();
  if (name) enterRoom("createChannel", name, []);
});

/** Calls a method that makes this user a member of a room, and opens it. */
async function enterRoom(method, ...params) {
  const result = await attempt(method, ...params);
  if (result === undefined) return showSection("chat");
  $("more").open = false;
  $("new-room").value = "";
  const subscriptions = await ddp.call("subscriptions/get");
  rooms = new Map(subscriptions.map((subscription) => [subscription.rid, asRoom(subscription)]));
  await chooseRoom(result.rid ?? params[0]);
}

async function chooseRoom(rid) {
  showSection("chat");
  await openRoom(rid);
  $("text").focus();
}

// --- people

async function rest(path) {
  const response = await fetch(`/api/v1/${path}`, { headers: { "X-User-Id": me.id, "X-Auth-Token": me.token } });
  return response.json();
}

async function loadPeople() {
  const { users } = await rest("users.presence");
  // What was heard meanwhile is newer.
  for (const { _id, username, status, statusText: text } of users) {
    if (!heard.has(_id)) people.set(_id, { username, status, text });
  }
  const others = [...people.values()].map(({ username }) => username).filter((username) => username !== me.username);
  $("whom").replaceChildren(...others.map((username) => element("option", "", username)));
  showPeople();
}

function showPeople() {
  const items = [...people].map(([id, { username, status, text }]) => {
    const button = action("", () => enterRoom("createDirectMessage", username));
    button.title = `Write to ${username}`;
    button.dataset.user = username;
    const dot = element("span", "dot");
    dot.dataset.status = status;
    dot.setAttribute("aria-hidden", "true");
    button.append(dot, element("span", "name", id === me.id ? `${username} (you)` : username), element("small", "", text || status));
    const item = element("li");
    item.append(button);
    return item;
  });
  replace($("users"), items);
  $("my-status").value = people.get(me.id)?.status ?? "online";
}

$("my-status").addEventListener("change", () => attempt("setUserStatus", $("my-status").value));

// A status with an end is the workspace's to set: it has no way over the socket.
$("my-text").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const seconds = Number($("until").value);
  const end = seconds ? { $date: Date.now() + 1_000 * seconds } : null;
  const params = [$("my-status").value, $("what").value.trim(), end];
  const message = JSON.stringify({ msg: "method", id: "1", method: "setUserStatus", params });
  await fetch("/api/v1/method.call/setUserStatus", {
    method: "POST",
    headers: { "X-User-Id": me.id, "X-Auth-Token": me.token, "Content-Type": "application/json" },
    body: JSON.stringify({ message }),
  });
});

// --- one room

async function openRoom(rid) {
  forgetRoom();
  if (!rid) return closeRoom("");
  const isSame = room === rid;
  room = rid;
  const { name } = rooms.get(rid);
  $("room-name").textContent = name;
  $("leave").hidden = rooms.get(rid).kind === "d";
  $("hand-over").hidden = true;
  if (!isSame) $("notice").textContent = "";
  showCompose();
  const refused = () => closeRoom("The gateway refuses this room.");
  const removed = ({ _id }) => removeMessage(itemOf(_id));
  roomSubscriptions = [
    ddp.subscribe("room-messages", rid, showMessage, refused),
    ddp.subscribe("notify-room", `${rid}/user-activity`, showTyping),
    ddp.subscribe("notify-room", `${rid}/deleteMessage`, removed),
  ];
  const { messages } = await ddp.call("loadHistory", rid, null, HISTORY);
  if (room !== rid) return;
  $("messages").replaceChildren();
  messages.reverse().forEach(showMessage);
  rooms.get(rid).unread = 0;
  showRooms();
  await ddp.call("readMessages", rid);
}

function forgetRoom() {
  roomSubscriptions.forEach((id) => ddp.unsubscribe(id));
  roomSubscriptions = [];
  for (const name of typists.keys()) showTyping(name, []);
}

function closeRoom(why) {
  forgetRoom();
  room = undefined;
  $("room-name").textContent = "Choose a room";
  $("leave").hidden = $("hand-over").hidden = true;
  $("messages").replaceChildren();
  $("notice").textContent = why;
  showCompose();
}

let leaving; // rid: what one ends oneself needs no explanation

async function leaveRoom() {
  leaving = room;
  $("notice").textContent = "";
  try {
    await ddp.call("leaveRoom", room);
    $("text").focus();
  } catch ({ error, message }) {
    leaving = undefined;
    $("notice").textContent = message;
    if (error?.error === "error-you-are-last-owner") offerHandOver();
  }
}

/** The last owner of a room leaves it to somebody. */
async function offerHandOver() {
  const { records } = await ddp.call("getUsersOfRoom", room);
  const heirs = records.filter(({ _id }) => _id !== me.id);
  $("heir").replaceChildren(...heirs.map(({ _id, username }) => Object.assign(element("option", "", username), { value: _id })));
  $("hand-over").hidden = false;
  $("heir").focus();
}

$("leave").addEventListener("click", leaveRoom);

$("hand-over").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  if ((await attempt("addRoomOwner", room, $("heir").value)) === undefined) return;
  $("hand-over").hidden = true;
  await leaveRoom();
});

let reading;

/** Messages that are looked at are read, a little later and in one go. */
function readSoon() {
  reading ??= setTimeout(() => {
    reading = undefined;
    if (room && connected) ddp.call("readMessages", room).catch(() => {});
  }, READ_MS);
}

// --- messages

function itemOf(id) {
  return [...$("messages").children].find((item) => item.dataset.id === id);
}

function showMessage(message) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const present = itemOf(message._id);
  // What is being edited changes when that is done.
  if (present && isEdited(present)) return;
  const item = messageItem(message, message.u._id === me.id && ownMessage);
  const hasFocus = present?.contains(document.activeElement);
  if (present) present.replaceWith(item);
  else list.append(item);
  if (hasFocus) focusMessage(item);
  if (list.childElementCount > MESSAGES_KEPT) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  showTyping(message.u.username, []);
}

/** Takes a message away; a focus that was in it goes to its neighbour. */
function removeMessage(item) {
  if (!item) return;
  const neighbour = item.nextElementSibling ?? item.previousElementSibling;
  const hadFocus = item.contains(document.activeElement);
  item.remove();
  if (hadFocus && neighbour) focusMessage(neighbour);
  else if (hadFocus) $("text").focus();
}

const ownMessage = {
  edit: ({ _id, rid }, msg) => attempt("updateMessage", { _id, rid, msg }),
  remove: ({ _id }) => attempt("deleteMessage", { _id }),
};

/** Calls a method and shows its error; `undefined` then. */
async function attempt(method, ...params) {
  $("notice").textContent = "";
  try {
    return (await ddp.call(method, ...params)) ?? null;
  } catch (error) {
    $("notice").textContent = error.message;
    return undefined;
  }
}

// --- writing

let lastTyping = 0;
const typists = new Map(); // name -> timer

function showCompose() {
  $("compose").querySelector("button").disabled = !connected || !room;
}

function typing(activities) {
  ddp.call("stream-notify-room", `${room}/user-activity`, me.username, activities, {}).catch(() => {});
}

$("text").addEventListener("input", () => {
  if (!connected || !room || Date.now() - lastTyping < TYPING_MS / 2) return;
  lastTyping = Date.now();
  typing(["user-typing"]);
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowUp" || $("text").value) return;
  const own = $("messages").querySelectorAll(".actions");
  own[own.length - 1]?.firstElementChild.click();
  event.preventDefault();
});

$("compose").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const msg = $("text").value.trim();
  if (!msg || !room || !connected) return;
  $("text").value = "";
  lastTyping = 0;
  const sent = await attempt("sendMessage", { _id: randomId(), rid: room, msg });
  if (sent === undefined && !$("text").value) $("text").value = msg;
});

function showTyping(name, activities) {
  clearTimeout(typists.get(name));
  typists.delete(name);
  if (activities.includes("user-typing")) typists.set(name, setTimeout(() => showTyping(name, []), TYPING_MS));
  const names = [...typists.keys()];
  $("typing").textContent = names.length ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing …` : "";
}

// --- page

function showSection(id) {
  for (const button of $("sections").children) {
    const shown = button.dataset.section === id;
    button.setAttribute("aria-pressed", String(shown));
    $(button.dataset.section).toggleAttribute("data-shown", shown);
  }
  // A list that is not shown cannot have been scrolled.
  if (id === "chat") $("messages").scrollTop = $("messages").scrollHeight;
}

for (const button of $("sections").children) button.addEventListener("click", () => showSection(button.dataset.section));
showSection("chat");
useKeyboard($("messages"));
setUpTour();
setUpExperiments({ url, call: (...args) => ddp.call(...args), room: () => room, token: () => me.token, username: () => me.username });
watchFigures(() => connected);
