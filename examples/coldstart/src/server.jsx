import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import page from "./page.jsx";

const client = readFileSync(new URL("client.js", import.meta.url));

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
