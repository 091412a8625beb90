// How a page changes while it is open.
import { readdirSync, readFileSync } from "node:fs";

/// From now on, writes down each state of a peer and when it stood on the page.
export async function observe({ pages }, { name, peer }) {
  await pages.get(name).page.evaluate((peer) => {
    window.states = [];
    const look = () => {
      const row = document.querySelector(`tr[data-peer="${peer}"]`);
      const state = row?.dataset.state;
      if (state && state !== window.states.at(-1)?.state) {
        window.states.push({ state, at: Date.now() / 1000, text: row.innerText, title: document.title });
      }
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    look();
  }, peer);
}

/// What was written down; nothing where the page was loaded anew.
export async function seen({ pages }, { name }) {
  return pages.get(name).page.evaluate(() => window.states ?? []);
}

/// Where the reader is: what has the focus, and how far the page and its boxes are scrolled. `go` puts it there first.
export async function stand({ pages }, { name, go = null }) {
  return pages.get(name).page.evaluate((go) => {
    if (go) {
      document.querySelector(go.focus).focus({ preventScroll: true });
      scrollTo(0, go.top);
      document.querySelector(go.box).scrollLeft = go.left;
    }
    const focus = document.activeElement;
    return {
      focus: focus.closest("[id]")?.id ?? null,
      link: focus.getAttribute("href"),
      top: scrollY,
      boxes: [...document.querySelectorAll(".scroll")].map((box) => [box.id, box.scrollLeft]),
    };
  }, go);
}

/// Waits until an element's text holds this.
export async function until({ pages }, { name, selector, text, seconds = 20 }) {
  const { page } = pages.get(name);
  const holds = ({ selector, text }) => document.querySelector(selector)?.innerText.includes(text) && Date.now() / 1000;
  const at = await page.waitForFunction(holds, { selector, text }, { polling: 50, timeout: seconds * 1000 });
  return { at: await at.jsonValue(), text: await page.locator(selector).innerText() };
}

/// For how long each thread of these processes was ready and got no processor, in milliseconds
/// (Linux, Documentation/scheduler/sched-stats.rst).
function withheld(processes) {
  return processes.map((pid) => {
    const waits = new Map();
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const stat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8");
        waits.set(thread, Number(stat.split(" ")[1]) / 1e6);
      }
    } catch {
      // One of them has ended.
    }
    return waits;
  });
}

/// Loads a page some times in one context, each time in milliseconds until everything was there, and for how many of them the
/// processes of the browser and the server got no processor: of each, the thread that waited longest.
export async function load({ browser, pages }, { name, times, server }) {
  const { page } = pages.get(name);
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const processes = [server, ...processInfo.map(({ id }) => id)];
  const loads = [];
  for (let n = 0; n < times; n += 1) {
    const before = withheld(processes);
    await page.reload();
    const took = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
    const waited = withheld(processes).map((waits, n) =>
      Math.max(0, ...[...waits].map(([thread, wait]) => wait - (before[n].get(thread) ?? 0))),
    );
    loads.push([took, waited.reduce((sum, wait) => sum + wait, 0)]);
  }
  return loads;
}

/// Lets a page live for some updates: how large it was before and after, and for how long at a time its thread was busy,
/// the longest first, in milliseconds. In the thread's own time: others compute on this machine too.
export async function grown({ browser, pages }, { name, updates }) {
  const { page, context } = pages.get(name);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const size = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    const metric = (name) => metrics.find((metric) => metric.name === name).value;
    const elements = await page.evaluate(() => document.getElementsByTagName("*").length);
    return { elements, nodes: metric("Nodes"), heap: metric("JSHeapUsedSize"), busy: metric("TaskDuration") };
  };
  await page.evaluate(() => {
    window.updates = 0;
    // The time of the page, and no more: to watch everything is work as well.
    const made = document.querySelector("#made time");
    new MutationObserver(() => (window.updates += 1)).observe(made, { attributes: true });
  });
  const updated = (count) =>
    page.waitForFunction((count) => window.updates >= count, count, { polling: 500, timeout: 120_000 });
  await updated(2);
  const before = await size();
  // Collecting garbage is long, and is ours, so it is not in the trace.
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
  const from = await page.evaluate(() => window.updates);
  await updated(from + updates);
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  return { before, after: await size(), tasks: tasks(traceEvents, page.url()) };
}

/// How long the main thread of a page was busy at a time.
function tasks(events, url) {
  const frames = events.find(({ name }) => name === "TracingStartedInBrowser").args.data.frames;
  const { processId } = frames.find((frame) => frame.url === url);
  const isMain = ({ name, pid, args }) => name === "thread_name" && pid === processId && args.name === "CrRendererMain";
  const { tid } = events.find(isMain);
  // A task that the start or the end of the trace cuts has no duration.
  const isWhole = ({ ph, tdur }) => ph === "X" && Number.isFinite(tdur);
  const isTask = (event) =>
    event.name === "RunTask" && event.pid === processId && event.tid === tid && isWhole(event);
  return events.filter(isTask).map(({ tdur }) => tdur / 1000).sort((a, b) => b - a);
}

/// Waits until a page has loaded itself again.
export async function reloaded({ pages }, { name, seconds }) {
  const { page } = pages.get(name);
  await page.waitForEvent("framenavigated", { timeout: seconds * 1000 });
}
