// Keeps the page as new as the sidecar. Without it the page is complete, and is loaded again every five seconds.
(() => {
  "use strict";
  const EVERY = 1000, LONGEST = 15000, PATIENCE = 5000;
  const line = document.getElementById("live");
  let pause = EVERY, timer = 0, since = null, running = false;

  const clock = (date) => date.toISOString().slice(11, 19);
  const say = (text, kind) => {
    line.className = "live " + kind;
    if (line.textContent !== text) line.textContent = text;
  };

  // Elements of one id are one and the same; others are by their place.
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;
  const update = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    children(old, fresh);
  };
  const children = (old, fresh) => {
    const named = new Map();
    for (const child of old.children) if (child.id) named.set(child.id, child);
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = next.id && named.get(next.id);
      if (known && known.nodeName === next.nodeName) {
        if (known !== at) old.insertBefore(known, at);
        update(known, next);
        at = known.nextSibling;
      } else if (at && same(at, next)) {
        update(at, next);
        at = at.nextSibling;
      } else {
        old.insertBefore(document.importNode(next, true), at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };

  // The time of the page's reader beside UTC, where they differ.
  const localize = () => {
    for (const time of document.querySelectorAll("main time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      time.title = time.dateTime + ", " + at.toLocaleString();
      const beside = time.parentElement.querySelector(".local");
      if (beside) beside.textContent = " \u00b7 " + at.toLocaleTimeString([], { hour12: false }) + " local";
    }
  };

  const show = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const [old, next] = [document.getElementById("main"), fresh.getElementById("main")];
    if (!next) throw new Error("not a status page");
    const focused = document.activeElement;
    update(old, next);
    localize();
    // What was moved has lost it.
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    for (const id of ["uptime", "made"]) {
      const [was, is] = [document.getElementById(id), fresh.getElementById(id)];
      if (was && is) update(was, is);
    }
    if (document.title !== fresh.title) document.title = fresh.title;
    const [icon, other] = [document, fresh].map((page) => page.querySelector("link[rel=icon]"));
    if (icon && other && icon.getAttribute("href") !== other.getAttribute("href")) icon.setAttribute("href", other.getAttribute("href"));
  };

  const ask = async () => {
    if (running || document.hidden) return;
    running = true;
    const ending = new AbortController();
    const began = performance.now();
    const limit = setTimeout(() => ending.abort(), PATIENCE);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: ending.signal });
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      show(await answer.text());
      // A page of hundreds of paths on a slow device must leave it time for its reader.
      pause = Math.max(EVERY, 4 * (performance.now() - began));
      since = null;
      document.documentElement.classList.remove("stale-page");
      say("live", "on");
    } catch {
      since ??= new Date();
      pause = Math.min(pause * 2, LONGEST);
      document.documentElement.classList.add("stale-page");
      say("not answering since " + clock(since) + " UTC", "stale");
    } finally {
      clearTimeout(limit);
      running = false;
      clearTimeout(timer);
      timer = setTimeout(ask, pause);
    }
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) {
      say("paused", "idle");
    } else {
      pause = EVERY;
      ask();
    }
  });
  localize();
  document.documentElement.dataset.live = "on";
  say("live", "on");
  timer = setTimeout(ask, pause);
})();
