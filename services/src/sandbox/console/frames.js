// The frame inspector: the newest frames of this tab in both directions, as text.

const KEPT = 300;
const SHOWN_CHARS = 2_000;

const list = document.getElementById("frames");
const filter = document.getElementById("filter");
const pause = document.getElementById("pause");
let paused = false;

export function showFrame(direction, text) {
  if (paused) return;
  const wanted = filter.value.trim().toLowerCase();
  if (wanted && !text.toLowerCase().includes(wanted)) return;
  const item = document.createElement("li");
  const mark = document.createElement("span");
  mark.className = direction;
  mark.textContent = direction === "in" ? "◀ in  " : "▶ out ";
  item.append(mark, hideSecrets(text).slice(0, SHOWN_CHARS));
  list.prepend(item);
  while (list.childElementCount > KEPT) list.lastElementChild.remove();
}

// What is shown may end up in a screenshot.
function hideSecrets(text) {
  return text.replace(/("(?:password|resume|token|digest)":)"[^"]*"/g, '$1"…"');
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
});
document.getElementById("clear").addEventListener("click", () => list.replaceChildren());
