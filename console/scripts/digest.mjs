// Writes dist/sources.sha256: the SHA-256 of everything that the built files are made of. Tests compare it without Node.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const files = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts", ...below("public"), ...below("src")];
const order = (left, right) => (left < right ? -1 : 1);
const lines = files.sort(order).map((name) => `${name} ${sha256(readFileSync(new URL(name, root)))}\n`);
writeFileSync(new URL("dist/sources.sha256", root), `${sha256(lines.join(""))}\n`);

function below(folder) {
  return readdirSync(new URL(folder, root)).flatMap((name) => {
    const path = `${folder}/${name}`;
    return statSync(new URL(path, root)).isDirectory() ? below(path) : [path];
  });
}
