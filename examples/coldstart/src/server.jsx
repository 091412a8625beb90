import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { renderToString } from "react-dom/server";
import App from "./App.jsx";

const client = readFileSync(new URL("client.js", import.meta.url));
const page = () => `<!doctype html><title>Orders</title><div id="root">${renderToString(<App />)}</div>
<script src="/client.js"></script>`;

const server = createServer((request, response) => {
  if (request.url === "/client.js") {
    response.writeHead(200, { "content-type": "text/javascript" }).end(client);
  } else {
    response.writeHead(200, { "content-type": "text/html" }).end(page());
  }
});
server.listen(8080);
// The first process of a container gets no default handler.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
