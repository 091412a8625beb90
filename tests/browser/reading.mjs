// How those read a page who see, or hear, or type.
import { readFileSync } from "node:fs";

/// The rules of axe-core that the page breaks, in each of these colour schemes and widths.
export async function audit({ pages, axe }, { name, schemes = ["light", "dark"], widths = [360, 1920], hold = true }) {
  const { page } = pages.get(name);
  // As if nobody looked at it: nothing may change while it is read.
  if (hold) {
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { get: () => true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
  }
  // By the debugger, which the page's policy does not bind.
  await page.evaluate(readFileSync(axe, "utf8"));
  const broken = [];
  for (const colorScheme of schemes) {
    for (const width of widths) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const found = await page.evaluate(async () => {
        const values = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        const { violations, passes } = await window.axe.run(document, { runOnly: { type: "tag", values } });
        const told = violations.flatMap(({ id, help, nodes }) =>
          nodes.slice(0, 3).map((node) => `${id}: ${help}: ${node.target} ${node.any[0]?.message ?? ""}`),
        );
        return { told, passes: passes.length };
      });
      // A page of nothing breaks no rule.
      if (found.passes < 10) broken.push(`only ${found.passes} rules applied`);
      broken.push(...found.told.map((told) => `${colorScheme}, ${width} px: ${told}`));
    }
  }
  return broken;
}

/// What the page says of peers, candidates and paths.
export async function rows({ pages }, { name }) {
  return pages.get(name).page.evaluate(() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const cells = (row) => row.cells.length;
    return {
      lang: document.documentElement.lang,
      live: document.documentElement.dataset.live ?? null,
      headings: all("h1").map((heading) => heading.innerText),
      home: all("a[href='/']").length,
      unnamedTables: all("table").filter((table) => {
        const near = table.closest("[aria-label], [aria-labelledby]");
        return !table.caption && !near;
      }).length,
      unscopedHeaders: all("th:not([scope])").length,
      peers: all("tr[data-peer]").map((row) => ({
        peer: row.dataset.peer,
        state: row.dataset.state,
        text: row.innerText,
        columns: cells(row),
      })),
      candidates: all("tr[data-candidate]").map((row) => ({
        region: row.dataset.candidate,
        text: row.innerText,
        columns: cells(row),
      })),
      paths: all("[data-path]").map((path) => path.dataset.path),
      unnamedPictures: all("svg:not([aria-hidden=true])").filter((svg) => !svg.getAttribute("aria-label")).length,
      probes: all("#probes tr[data-result]").map((row) => ({ result: row.dataset.result, text: row.innerText })),
    };
  });
}

/// Goes through the page by the Tab key: every stop, and what was never reached.
export async function walk({ pages }, { name }) {
  const { page } = pages.get(name);
  const focusable = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex^='-'])";
  // Whatever is updated, an element stays the one that was counted.
  const expected = await page.evaluate((focusable) => {
    const shown = [...document.querySelectorAll(focusable)].filter((element) => element.checkVisibility());
    window.reached = new Map(shown.map((element) => [element, 0]));
    return shown.length;
  }, focusable);
  const stops = [];
  for (let n = 0; n < expected + 5; n += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      window.reached.set(element, (window.reached.get(element) ?? 0) + 1);
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      return {
        what: element.innerText.trim().slice(0, 40) || element.getAttribute("aria-label"),
        target: element.getAttribute("href"),
        outlined: element.matches(":focus-visible") && outlineStyle !== "none" && parseFloat(outlineWidth) >= 1,
        seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
      };
    });
    if (!stop) break;
    stops.push(stop);
  }
  const missed = await page.evaluate(() =>
    [...window.reached].filter(([element, times]) => times === 0 && element.isConnected).map(([element]) => element.outerHTML),
  );
  await page.evaluate(() => document.activeElement.blur());
  await page.reload();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const skipped = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.press("Tab");
  const inside = await page.evaluate(() => document.getElementById("main").contains(document.activeElement));
  return { stops, missed, skipped, inside };
}
