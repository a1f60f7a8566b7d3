// One message as a list item: who, when, what, and what its writer may do with it.

import { action, avatar, element } from "/dom.js";

const SYSTEM = { uj: "joined", ul: "left", au: "was added", ru: "was removed" };
const LONG_CHARS = 500;
const OPENING_CHARS = 120;

/** @param change {edit(message, text), remove(message)} for messages of one's own, otherwise nothing */
export function messageItem(message, change) {
  const item = element("li");
  item.dataset.id = message._id;
  const at = new Date(message.ts.$date);
  const time = element("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  if (SYSTEM[message.t]) {
    const line = element("span", "system", `${message.msg} ${SYSTEM[message.t]} `);
    line.append(time);
    item.append(line);
    return item;
  }
  const body = element("div", "body");
  body.append(element("span", "who", message.u.username), time, text(message.msg));
  if (message.editedAt) body.append(element("span", "edited", "edited"));
  item.append(avatar(message.u.username), body);
  if (change) {
    const actions = element("span", "actions");
    actions.append(
      action("Edit", () => edit(item, message, change)),
      action("Delete", () => change.remove(message)),
    );
    item.append(actions);
  }
  return item;
}

function text(msg) {
  if (msg.length <= LONG_CHARS) return element("div", "text", msg);
  const long = element("details", "text");
  long.append(element("summary", "", `${msg.slice(0, OPENING_CHARS)} … (${msg.length} characters)`), msg);
  return long;
}

function edit(item, message, change) {
  const field = element("input", "editor");
  field.value = message.msg;
  field.maxLength = 5_000;
  field.setAttribute("aria-label", "Edit the message; Enter saves, Escape leaves it as it was");
  const done = () => item.replaceWith(messageItem(message, change));
  field.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") done();
    if (key !== "Enter") return;
    const changed = field.value.trim();
    done();
    if (changed && changed !== message.msg) change.edit(message, changed);
  });
  item.querySelector(".text").replaceWith(field);
  field.focus();
}
