// Drives one Chromium for all tests: node driver.mjs MODULES CHROMIUM. Each line that comes in is an order,
// {"id":1,"run":"visit","with":{...}}, and each line that goes out is what became of one: {"id":1,"answer":...} or
// {"id":1,"error":"..."}. When no more orders can come, whatever was started ends.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import * as orders from "./orders.mjs";

const [modules, executablePath] = process.argv.slice(2);
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
const world = { browser, axe: require.resolve("axe-core/axe.min.js"), pages: new Map(), kept: new Set() };

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { id, run, with: details } = JSON.parse(line);
    let outcome;
    try {
      outcome = { answer: (await orders[run](world, details)) ?? null };
    } catch (error) {
      outcome = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`);
  })
  .on("close", async () => {
    for (const pid of world.kept) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    await browser.close();
    process.exit(0);
  });
