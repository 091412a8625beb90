// Takes the moving picture: node moving.mjs MODULES CHROMIUM URL FILE, while the regions of the demo are healthy, then go down and come
// back. An animated PNG with a frame for each sentence of the banner.
import { writeFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { launch } from "../../tests/browser/chromium.mjs";

const [modules, executablePath, url, file] = process.argv.slice(2);
// What the banner says, and how many seconds the frame is shown.
const steps = [
  ["All 3 peers are healthy.", 2],
  ["prepare to fail over to", 3],
  [", fail over to", 3],
  ["is recovering", 3],
];

const chunk = (type, data) => {
  const body = Buffer.concat([Buffer.from(type), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
};

const chunks = (png) => {
  const found = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    found.push([png.toString("latin1", at + 4, at + 8), png.subarray(at + 8, at + 8 + png.readUInt32BE(at))]);
  }
  return found;
};

const words = (...values) => {
  const data = Buffer.alloc(4 * values.length);
  values.forEach((value, n) => data.writeUInt32BE(value, 4 * n));
  return data;
};

/// https://www.w3.org/TR/png-3/#apng-frame-based-animation
const animated = (frames) => {
  let sequence = 0;
  const header = chunks(frames[0].png).find(([type]) => type === "IHDR")[1];
  const parts = [frames[0].png.subarray(0, 8), chunk("IHDR", header), chunk("acTL", words(frames.length, 0))];
  frames.forEach(({ png, seconds }, n) => {
    const delay = Buffer.from([0, seconds, 0, 1, 0, 0]);
    const size = [header.readUInt32BE(0), header.readUInt32BE(4), 0, 0];
    parts.push(chunk("fcTL", Buffer.concat([words(sequence++, ...size), delay])));
    for (const [type, data] of chunks(png)) {
      if (type !== "IDAT") continue;
      parts.push(n === 0 ? chunk(type, data) : chunk("fdAT", Buffer.concat([words(sequence++), data])));
    }
  });
  return Buffer.concat([...parts, chunk("IEND", Buffer.alloc(0))]);
};

const { browser } = await launch(modules, executablePath);
const context = await browser.newContext({ viewport: { width: 960, height: 440 }, colorScheme: "light" });
const page = await context.newPage();
await page.goto(url);
const frames = [];
for (const [text, seconds] of steps) {
  const says = (text) => document.querySelector("#summary .sentence")?.innerText.includes(text);
  await page.waitForFunction(says, text, { polling: 50, timeout: 60_000 });
  // For the rows, which follow in the same update.
  await page.waitForTimeout(500);
  frames.push({ png: await page.screenshot({ animations: "disabled" }), seconds });
}
await browser.close();
writeFileSync(file, animated(frames));
