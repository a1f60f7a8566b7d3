// One message as a list item: who, when, what, and what its writer may do with it. The list is one stop of the Tab key; in
// it the arrow keys go from message to message, and to the right into a message's actions.

import { action, avatar, element } from "/dom.js";

const SYSTEM = { uj: "joined", ul: "left", au: "was added", ru: "was removed" };
const LONG_CHARS = 500;
const OPENING_CHARS = 120;

/** @param change {edit(message, text), remove(message)} for messages of one's own, otherwise nothing */
export function messageItem(message, change) {
  const item = element("li");
  item.dataset.id = message._id;
  item.tabIndex = -1;
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
  if (change) item.append(actions(item, message, change));
  return item;
}

export function isEdited(item) {
  return item.querySelector(".editor") !== null;
}

/** Gives the focus to a message, which is where the Tab key comes to from then on. */
export function focusMessage(item) {
  for (const other of item.parentElement.querySelectorAll("li[tabindex='0']")) other.tabIndex = -1;
  item.tabIndex = 0;
  item.parentElement.tabIndex = -1;
  item.focus();
}

export function useKeyboard(list) {
  // Come to by Tab, the list gives the focus on to its newest message; while it has none, it keeps it.
  list.addEventListener("focus", () => list.lastElementChild && focusMessage(list.lastElementChild));
  // A message that has gone takes the list's tab stop with it.
  new MutationObserver(() => {
    if (!list.querySelector("li[tabindex='0']")) list.tabIndex = 0;
  }).observe(list, { childList: true });
  list.addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    if (!item || event.target.matches("input")) return;
    const buttons = [...item.querySelectorAll(".actions button")];
    const at = buttons.indexOf(event.target);
    const to = {
      ArrowUp: () => item.previousElementSibling,
      ArrowDown: () => item.nextElementSibling,
      Home: () => list.firstElementChild,
      End: () => list.lastElementChild,
      ArrowRight: () => buttons[at + 1],
      ArrowLeft: () => (at > 0 ? buttons[at - 1] : item),
    }[event.key]?.();
    if (to?.matches("li")) focusMessage(to);
    else if (to) to.focus();
    else if (event.key === "Delete") buttons.find((button) => button.dataset.does === "delete")?.click();
    else return;
    event.preventDefault();
  });
}

function text(msg) {
  if (msg.length <= LONG_CHARS) return element("div", "text", msg);
  const long = element("details", "text");
  long.append(element("summary", "", `${msg.slice(0, OPENING_CHARS)} … (${msg.length} characters)`), msg);
  return long;
}

function actions(item, message, change) {
  const bar = element("span", "actions");
  const button = (label, does, run) => {
    const made = action(label, run);
    made.tabIndex = -1;
    made.dataset.does = does;
    return made;
  };
  const usual = [
    button("Edit", "edit", () => edit(item, message, change)),
    button("Delete", "delete", () => {
      bar.replaceChildren(...confirm);
      confirm[0].focus();
    }),
  ];
  const keep = () => {
    bar.replaceChildren(...usual);
    focusMessage(item);
  };
  const confirm = [button("Delete for everybody", "confirm", () => change.remove(message)), button("Keep", "keep", keep)];
  bar.addEventListener("keydown", ({ key }) => key === "Escape" && keep());
  bar.append(...usual);
  return bar;
}

function edit(item, message, change) {
  const field = element("input", "editor");
  field.value = message.msg;
  field.maxLength = 5_000;
  field.setAttribute("aria-label", "Edit the message; Enter saves, Escape leaves it as it was");
  const done = () => {
    const after = messageItem(message, change);
    item.replaceWith(after);
    focusMessage(after);
  };
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
