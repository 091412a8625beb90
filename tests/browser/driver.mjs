// Drives one Chromium for all tests: node driver.mjs MODULES CHROMIUM. Each line that comes in is an order,
// {"id":1,"run":"visit","with":{...}}, and each line that goes out is what became of one: {"id":1,"answer":...} or
// {"id":1,"error":"..."}. When no more orders can come, whatever was started ends.
import { createInterface } from "node:readline";
import { launch } from "./chromium.mjs";
import * as orders from "./orders.mjs";

const [modules, executablePath] = process.argv.slice(2);
const world = { ...(await launch(modules, executablePath)), pages: new Map(), kept: new Set() };

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
    await world.browser.close();
    process.exit(0);
  });
