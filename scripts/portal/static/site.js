// What the pages can do a little better with a script; each of them works without it.
"use strict";

const LOOK_MILLISECONDS = 4000;

// The result of an action is read first: its heading has the focus.
document.querySelector("[data-focus]")?.focus();

// One box ticks all rows of the page.
function tickAll(event) {
  const box = event.target;
  if (!box.matches("[data-all]")) return;
  for (const row of box.form.querySelectorAll("tbody .tick input")) row.checked = box.checked;
}
document.addEventListener("change", tickAll);

// A form that was sent once is not sent again by a second click; the page that comes back may send it.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// A menu closes with Escape and with a click beside it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// The counters and the rows follow what happens, as soon as a webhook has told the site.
const main = document.querySelector("main[data-fresh]");

function isInUse(part) {
  return part.dataset.live === "rows" && part.querySelector("tbody input:checked, details[open]") !== null;
}

async function refresh(version) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  let whole = true;
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (newer === null) continue;
    if (isInUse(part) || part.contains(document.activeElement)) whole = false;
    else part.replaceWith(newer);
  }
  if (whole) main.dataset.fresh = version;
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/fraicheur");
      if (answer.ok && !answer.redirected) {
        const { version } = await answer.json();
        if (version !== main.dataset.fresh) await refresh(version);
      }
    } catch {
      // the site or the network is away for a moment
    }
  }
  setTimeout(look, LOOK_MILLISECONDS);
}
if (main && document.querySelector("[data-live]") && document.querySelector("form.filters")) setTimeout(look, LOOK_MILLISECONDS);
