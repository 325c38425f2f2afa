import { defineConfig } from "vite";

// The sidecar serves the files under fixed names (src/sidecar/handlers/service/console.rs), below any path prefix of a
// reverse proxy: all addresses are relative.
export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        codeSplitting: false,
        entryFileNames: "console/console.js",
        assetFileNames: "console/console[extname]",
      },
    },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "^/(state|health|orders|executions|positions|risk|events|metrics)": process.env["ROUTER"] ?? "http://127.0.0.1:8100" } },
});
