// GitHub's own language service on workflow files: prints what it finds, exits 1 where it finds any.
// Its packages import JSON without the attribute that Node asks for: the hook adds it.
import { readFileSync } from "node:fs";
import { createRequire, register } from "node:module";
import { pathToFileURL } from "node:url";

const hook = `
export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  return next(url, { ...context, importAttributes: { ...context.importAttributes, type: "json" } });
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const [packages, ...files] = process.argv.slice(2);
const find = createRequire(pathToFileURL(`${packages}/node_modules/none.js`));
const { validate } = await import(
  pathToFileURL(`${packages}/node_modules/@actions/languageservice/dist/index.js`)
);
const { TextDocument } = find("vscode-languageserver-textdocument");

let found = 0;
for (const file of files) {
  const text = readFileSync(file, "utf8");
  const document = TextDocument.create(pathToFileURL(file).href, "yaml", 1, text);
  for (const one of await validate(document)) {
    found += 1;
    console.log(`${file}:${one.range.start.line + 1}: ${one.message}`);
  }
}
process.exit(found ? 1 : 0);
