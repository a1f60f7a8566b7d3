// Elements made from text. What people wrote is only ever set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function element(tag, className, content = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = content;
  return made;
}

export function action(label, run) {
  const button = element("button", "", label);
  button.type = "button";
  button.addEventListener("click", run);
  return button;
}

/** A circle with the first letter of a name, in a colour of its own. */
export function avatar(name) {
  const circle = element("span", "avatar", name.slice(0, 1).toUpperCase());
  circle.setAttribute("aria-hidden", "true");
  circle.dataset.hue = name.codePointAt(0) % 6;
  return circle;
}

/** The mark of a room's kind: public, private or direct. */
export function kindMark(kind) {
  const mark = element("span", "kind", { c: "#", d: "@" }[kind] ?? "");
  mark.setAttribute("aria-hidden", "true");
  if (kind === "p") mark.append(lock());
  return mark;
}

function lock() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", "M4 7V5a4 4 0 0 1 8 0v2h1v8H3V7Zm2 0h4V5a2 2 0 0 0-4 0Z");
  svg.append(path);
  return svg;
}
