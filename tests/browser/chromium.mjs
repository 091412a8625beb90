// Starts Chromium without a window, with an empty profile of its own and without requests that nobody asked for.
import { createRequire } from "node:module";

export async function launch(modules, executablePath) {
  const require = createRequire(`${modules}/`);
  const { chromium } = require("playwright-core");
  const browser = await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", // it may be root who tests
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--enable-precise-memory-info",
    ],
  });
  return { browser, axe: require.resolve("axe-core/axe.min.js") };
}
