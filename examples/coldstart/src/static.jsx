// Writes the page beside this file, for a server of files.
import { writeFileSync } from "node:fs";
import page from "./page.jsx";

writeFileSync(new URL("index.html", import.meta.url), page());
