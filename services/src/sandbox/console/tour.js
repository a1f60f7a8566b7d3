// Four things to look at, one after the other, for whoever has just come.

import { $ } from "/dom.js";

const STEPS = [
  ["text", "1 of 4: open this page in a second tab as somebody else and write. It is there within a frame; below are the frames."],
  ["silent", "2 of 4: open 200 silent clients and write. Deliveries go up, and what arrives together leaves in one write."],
  ["stall", "3 of 4: stall one client. Its own queue fills, is shed and closed with 1013; the others' latency stays flat."],
  ["drop", "4 of 4: drop all sockets. Every tab says why it was closed and comes back to where it was."],
];
const DONE = "ddp-edge-tour-done";

export function setUpTour() {
  let at = 0;
  const show = () => {
    for (const [id] of STEPS) $(id).classList.toggle("shown-by-tour", !$("tour").hidden && id === STEPS[at][0]);
    $("tour-text").textContent = STEPS[at][1];
    $("tour-next").textContent = at + 1 < STEPS.length ? "Next" : "Done";
  };
  const end = () => {
    $("tour").hidden = true;
    localStorage.setItem(DONE, "true");
    show();
  };
  $("tour-next").addEventListener("click", () => (++at < STEPS.length ? show() : (at = 0, end())));
  $("tour-end").addEventListener("click", end);
  $("tour").hidden = localStorage.getItem(DONE) === "true";
  show();
}
