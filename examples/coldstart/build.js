// Builds the browser's part, the server twice (with its packages beside it, and as one file with everything in it), and
// what writes the page to a file.
import { build } from "esbuild";

const common = { bundle: true, minify: true, define: { "process.env.NODE_ENV": '"production"' }, jsx: "automatic" };
const server = { ...common, entryPoints: ["src/server.jsx"], platform: "node", format: "esm", target: "node20" };
// React's server is CommonJS and requires modules of Node.js.
const banner = { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' };

await build({ ...common, entryPoints: ["src/client.jsx"], outfile: "dist/client.js" });
await build({ ...server, packages: "external", outfile: "dist/server.js" });
await build({ ...server, banner, outfile: "dist/bundle.js" });
await build({ ...server, banner, entryPoints: ["src/static.jsx"], outfile: "dist/static.js" });
