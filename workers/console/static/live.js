// Refreshes the regions of a page that are marked data-live. The page works without it.
"use strict";
(() => {
  const EVERY = 5000, SLOWEST = 60000;
  const line = document.querySelector("[data-live-line]"), button = document.querySelector("[data-live-pause]");
  if (!line || !button || !document.querySelector("[data-live]")) return;
  let paused = false, timer = 0, asked = null, newest = 0, wait = EVERY;

  const say = (words, stale) => {
    const told = line.querySelector("[data-live-told]");
    if (told.textContent !== words) told.textContent = words;
    line.classList.toggle("stale", stale);
  };
  const clock = () => new Intl.DateTimeFormat(document.documentElement.lang,
    { timeStyle: "medium", timeZone: "Europe/Paris" }).format(new Date());
  let seen = clock();

  const replace = (fresh) => {
    for (const region of document.querySelectorAll("[data-live][id]")) {
      const other = fresh.getElementById(region.id);
      if (!other || other.innerHTML === region.innerHTML) continue;
      const active = region.contains(document.activeElement) ? document.activeElement : null;
      if (active && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName)) continue;
      const open = new Set([...region.querySelectorAll("details[id][open]")].map((one) => one.id));
      const key = active && (active.id ? "#" + CSS.escape(active.id) : active.getAttribute("href")
        ? `a[href="${CSS.escape(active.getAttribute("href"))}"]` : null);
      region.innerHTML = other.innerHTML;
      for (const id of open) region.querySelector("#" + CSS.escape(id))?.setAttribute("open", "");
      if (key) region.querySelector(key)?.focus({ preventScroll: true });
    }
    if (fresh.title) document.title = fresh.title;
  };

  const look = async () => {
    if (paused || document.hidden) return;
    asked?.abort();
    const mine = ++newest, control = asked = new AbortController();
    const late = setTimeout(() => control.abort(), 15000);
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, signal: control.signal });
      const text = await answer.text();
      if (mine !== newest || paused) return;
      if (answer.redirected) { paused = true; say(line.dataset.ended, true); button.hidden = true; return; }
      if (!answer.ok) throw new Error(answer.status);
      replace(new DOMParser().parseFromString(text, "text/html"));
      seen = clock(); wait = EVERY; say("", false);
    } catch {
      if (mine === newest && !paused && !document.hidden) {
        wait = Math.min(2 * wait, SLOWEST);
        say(line.dataset.stale.replace("{at}", seen), true);
      }
    } finally {
      clearTimeout(late);
      if (mine === newest) plan();
    }
  };
  const plan = () => { clearTimeout(timer); if (!paused && !document.hidden) timer = setTimeout(look, wait); };

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? button.dataset.resume : button.dataset.pause;
    if (paused) { newest++; asked?.abort(); clearTimeout(timer); say(line.dataset.stale.replace("{at}", seen), true); }
    else look();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { newest++; asked?.abort(); clearTimeout(timer); } else look();
  });
  plan();
})();
