// Takes the pictures: node take.mjs MODULES CHROMIUM URL FOLDER
import { join } from "node:path";
import { launch } from "../../tests/browser/chromium.mjs";

const [modules, executablePath, url, folder] = process.argv.slice(2);
const pages = { overview: "/", peer: "/peer/us-east-1", path: "/path/us-east-1/edge/http" };
const sizes = {
  desktop: { viewport: { width: 1440, height: 900 }, deviceScaleFactor: 1.25 },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5 },
};

const { browser } = await launch(modules, executablePath);
for (const [size, screen] of Object.entries(sizes)) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ ...screen, colorScheme });
    const page = await context.newPage();
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(url + path);
      const file = join(folder, `${name}-${size}-${colorScheme}.png`);
      await page.screenshot({ path: file, animations: "disabled" });
    }
    await context.close();
  }
}
await browser.close();
