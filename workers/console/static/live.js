// Refreshes what is marked data-live.
(() => {
  const all = (where, what) => [...where.querySelectorAll(what)];
  const line = document.querySelector("[data-live-line]");
  if (!line) return;
  const [told, button] = all(line, "[data-live-told], [data-live-pause]"), root = document.documentElement;
  const now = () => new Date().toLocaleTimeString(root.lang, { timeZone: "Europe/Paris" });
  let paused = false, timer = 0, asked, newest = 0, wait = 5000, seen = now();

  const say = (words) => {
    if (told.textContent !== words) told.textContent = words;
    line.classList.toggle("stale", !!words);
  };
  const stale = () => say(line.dataset.stale.replace("{at}", seen));
  const stop = () => { newest++; asked?.abort(); clearTimeout(timer); };
  const plan = () => { clearTimeout(timer); if (!paused && !document.hidden) timer = setTimeout(look, wait); };

  const replace = (fresh) => {
    for (const region of all(document, "[data-live][id]")) {
      const other = fresh.getElementById(region.id), active = document.activeElement;
      if (!other || other.innerHTML === region.innerHTML) continue;
      const inside = region.contains(active);
      if (inside && active.matches("input, select, textarea")) continue;
      const open = all(region, "details[open][id]").map((one) => one.id);
      const place = inside ? all(region, active.tagName).indexOf(active) : -1;
      const id = inside && active.id, href = inside && active.getAttribute("href");
      region.innerHTML = other.innerHTML;
      for (const one of all(region, "details[id]")) one.open ||= open.includes(one.id);
      if (!inside) continue;
      const alike = all(region, active.tagName);
      (alike.find((one) => id ? one.id === id : href && one.getAttribute("href") === href) || alike[place])
        ?.focus({ preventScroll: true });
    }
    document.title = fresh.title;
  };

  const look = async () => {
    stop();
    const mine = newest, control = asked = new AbortController();
    const late = setTimeout(() => control.abort(), 15000);
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, signal: control.signal });
      const text = await answer.text();
      if (mine !== newest) return;
      if (answer.redirected) { paused = button.hidden = true; say(line.dataset.ended); return; }
      if (!answer.ok) throw answer;
      replace(new DOMParser().parseFromString(text, "text/html"));
      seen = now(); wait = 5000; say("");
    } catch {
      if (mine === newest) { wait = Math.min(2 * wait, 60000); stale(); }
    } finally {
      clearTimeout(late);
      if (mine === newest) plan();
    }
  };

  button.hidden = false;
  button.onclick = () => {
    paused = !paused;
    button.textContent = paused ? button.dataset.resume : button.dataset.pause;
    if (paused) { stop(); stale(); } else look();
  };
  document.addEventListener("visibilitychange", () => { stop(); if (!document.hidden && !paused) look(); });
  plan();
})();
