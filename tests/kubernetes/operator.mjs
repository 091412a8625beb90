// Holds resources of the Prometheus operator (a JSON list on stdin) against its schemas, from the package in the folder
// of the first argument. Prints a line for each mistake, and ends with 1 where there is one.
//
// The schemas let unknown fields pass, as the API server does, which then drops them. A field that their validators
// never look at is one: proxies note what is read.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const schemas = join(process.argv[2], "node_modules/@kubernetes-models/prometheus-operator");

const watched = (value, place, unread) => {
  if (value === null || typeof value !== "object") return value;
  const copy = Array.isArray(value) ? [] : {};
  for (const key of Object.keys(value)) {
    copy[key] = watched(value[key], `${place}/${key}`, unread);
    if (!Array.isArray(value)) unread.add(`${place}/${key}`);
  }
  return new Proxy(copy, {
    get(target, key) {
      if (typeof key === "string") unread.delete(`${place}/${key}`);
      return target[key];
    },
  });
};

let text = "";
for await (const chunk of process.stdin) text += chunk;
let mistakes = 0;
for (const resource of JSON.parse(text)) {
  const { [resource.kind]: Model } = await import(pathToFileURL(join(schemas, resource.apiVersion, `${resource.kind}.js`)));
  const unread = new Set();
  let told;
  try {
    Model.prototype.validate.call(watched(resource, "", unread));
    told = [...unread].map((place) => `${place} is no field`);
  } catch (error) {
    told = [error.message];
  }
  for (const one of told) console.log(`${resource.kind}/${resource.metadata?.name}: ${one}`);
  mistakes += told.length;
}
process.exit(mistakes > 0 ? 1 : 0);
