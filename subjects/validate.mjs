// Parses an AsyncAPI document, checks the examples of its messages against their schemas, and prints every error and
// warning: node validate.mjs <node directory> <document>. validate.sh installs the dependencies and runs it.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [nodeDirectory, file] = process.argv.slice(2);
const require = createRequire(join(resolve(nodeDirectory), "package.json"));
const { Parser, fromFile } = require("@asyncapi/parser");
const { default: Ajv } = require("ajv/dist/2020");

const WARNING = 1;
const problems = [];

const { document, diagnostics } = await fromFile(new Parser(), file).parse();
for (const { severity, path, message, range } of diagnostics) {
  if (severity <= WARNING) problems.push(`${file}:${range.start.line + 1}: ${path.join(".")}: ${message}`);
}

/** Returns a validator of one schema; the parser has resolved its references. */
function validator(schema) {
  const { $id, $schema, ...rest } = schema.json();
  return new Ajv({ strict: false, validateFormats: false }).compile(rest);
}

let examples = 0;
for (const message of document?.allMessages().all() ?? []) {
  for (const example of message.examples().all()) {
    examples += 1;
    for (const [part, schema] of [["headers", message.headers()], ["payload", message.payload()]]) {
      if (schema === undefined || example[part]() === undefined) continue;
      const check = validator(schema);
      if (!check(example[part]())) {
        problems.push(`${message.name()}: example ${example.name()}: ${part}: ${JSON.stringify(check.errors)}`);
      }
    }
  }
}

for (const problem of problems) console.error(problem);
if (problems.length === 0 && document !== undefined) {
  const counts = ["channels", "operations", "messages"].map((kind) => `${document[kind]().all().length} ${kind}`);
  console.log(`valid: ${counts.join(", ")}, ${examples} examples`);
}
process.exit(problems.length === 0 && document !== undefined ? 0 : 1);
