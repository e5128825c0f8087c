// Bundles what the pages need from npm into web/static/vendor (ignored by git).
// JsSIP ships no bundle; htmx does, and is taken as it is without the pointer to its source map.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const vendor = join(root, "web", "static", "vendor");
await mkdir(vendor, { recursive: true });

await build({
  stdin: { contents: 'import JsSIP from "jssip";\nexport { JsSIP };\nexport default JsSIP;\n', resolveDir: root },
  outfile: join(vendor, "jssip.js"),
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  define: { global: "globalThis" },
  legalComments: "linked",
  logLevel: "warning",
});

const htmx = await readFile(join(modules, "htmx.org", "dist", "htmx.min.js"), "utf8");
await writeFile(join(vendor, "htmx.js"), htmx.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));

for (const name of ["jssip", "htmx.org", "debug", "events", "sdp-transform", "ms"]) {
  for (const file of ["LICENSE", "LICENSE.md", "license.md"]) {
    const text = await readFile(join(modules, name, file), "utf8").catch(() => null);
    if (text !== null) {
      await writeFile(join(vendor, `${name}.LICENSE.txt`), text);
      break;
    }
  }
}
