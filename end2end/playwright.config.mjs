// Three suites in a real Chromium: `simulated` and `pictures` need only a built server and site, `lab` also needs
// scripts/lab up.
// Each file starts its own server (server.mjs), so there is no webServer here, and files run side by side.
import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "../test-results/playwright",
  workers: 2,
  forbidOnly: !!process.env.CI,
  reporter: "list",
  timeout: 90_000,
  expect: { timeout: 15_000 },
  use: {
    viewport: { width: 1280, height: 900 },
    // A trace's film of the page keeps a core busy, since nothing but the processor draws it: one picture does.
    trace: { mode: "retain-on-failure", screenshots: false },
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox", // runs as root in containers
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
  projects: [
    // The longest file, so it begins first. What pages look like is all that can go wrong there; a trace of it would take
    // longer than the pictures do.
    { name: "pictures", testMatch: "pictures.spec.mjs", use: { trace: "off" } },
    { name: "simulated", testMatch: "simulated/*.spec.mjs" },
    // Software emulation boots a VM in a minute on a good day.
    { name: "lab", testMatch: "lab.spec.mjs", timeout: 10 * 60_000 },
  ],
});
