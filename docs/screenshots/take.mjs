// Takes the pictures: node take.mjs MODULES CHROMIUM URL
import { fileURLToPath } from "node:url";
import { launch } from "../../tests/browser/chromium.mjs";

const [modules, executablePath, url] = process.argv.slice(2);
const pages = { overview: "/", peer: "/peer/us-east-1", path: "/path/us-east-1/edge/http" };
const sizes = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };

const { browser } = await launch(modules, executablePath);
for (const [size, viewport] of Object.entries(sizes)) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1.5 });
    const page = await context.newPage();
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(url + path);
      const file = fileURLToPath(new URL(`${name}-${size}-${colorScheme}.png`, import.meta.url));
      await page.screenshot({ path: file, fullPage: true, animations: "disabled", scale: "device" });
    }
    await context.close();
  }
}
await browser.close();
