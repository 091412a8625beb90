// What the tests can order.
export { audit, rows, walk } from "./reading.mjs";
export { layout, moving } from "./layout.mjs";
export { grown, load, observe, reloaded, seen, stand, until } from "./living.mjs";
import { watch } from "./trouble.mjs";

/// Ends a process when no more orders can come.
export function keep({ kept }, { pid }) {
  kept.add(pid);
}

/// Opens a page in a context of its own, under a name for later orders.
export async function open({ browser, pages }, { name, url, expected, options = {} }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const trouble = await watch(context, new URL(url).origin, expected);
  const page = await context.newPage();
  const response = await page.goto(url);
  pages.set(name, { page, context, trouble });
  return { status: response.status(), policy: response.headers()["content-security-policy"] ?? "" };
}

/// Ends a page, and tells what went wrong on it.
export async function close({ pages }, { name }) {
  const { context, trouble } = pages.get(name);
  pages.delete(name);
  await context.close();
  return trouble;
}

/// A picture of the whole page in this colour scheme, as a file.
export async function picture({ pages }, { name, file, colorScheme, width = 1280 }) {
  const { page } = pages.get(name);
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme });
  await page.screenshot({ path: file, fullPage: true });
  return page.evaluate(() => {
    const { color, backgroundColor } = getComputedStyle(document.body);
    const paths = [...document.querySelectorAll("svg path, svg rect")];
    const drawn = paths.filter((path) => path.getBoundingClientRect().width > 0);
    return { color, backgroundColor, drawn: drawn.length, requests: performance.getEntriesByType("resource").length };
  });
}

/// What has gone wrong on a page so far.
export function trouble({ pages }, { name }) {
  return pages.get(name).trouble;
}

/// All that must be found.
export async function misbehave({ pages }, { name }) {
  await pages.get(name).page.evaluate(() => {
    console.error("an error");
    setTimeout(() => {
      throw new Error("a throw");
    });
    const style = document.createElement("style");
    style.textContent = "body { color: red }";
    document.head.append(style);
    fetch("http://127.0.0.2:9/").catch(() => {});
    open("/nowhere");
    open("http://127.0.0.2:9/");
  });
}
