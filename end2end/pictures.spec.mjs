// Pictures of every page, light and dark, wide and narrow, which the README shows. `make pictures` retakes them
// (TWARGA_PICTURES=keep); otherwise each page has to look like its picture, but for what is live.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { compare, isSame, MAX_SHARE, MIN_COMPARED } from "./compare.mjs";
import { client, enter, expect, furnish, hydrated, USER, signIn, test as base } from "./fixtures.mjs";
import { RESULTS, ROOT, startServer } from "./server.mjs";

const KEEP = process.env.TWARGA_PICTURES === "keep";
const KEPT = join(ROOT, "docs/pictures");
/** How wide letters were in the kept pictures: the pages are set in the machine's own font. */
const KEPT_LETTERS = join(KEPT, "letters.json");
const VMS = 12;
/** How long the fleet runs before pictures to keep are taken: as long as a page's lines reach back. */
const HISTORY_MS = 60_000 * Number(process.env.TWARGA_PICTURES_MINUTES ?? 15);

const THEMES = ["light", "dark"];
const SIZES = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];

const PAGES = {
  overview: "/",
  vm: "/vms/1",
  "vm-snapshots": "/vms/1/snapshots",
  "vm-activity": "/vms/1/activity",
  "vm-settings": "/vms/1/settings",
  monitor: "/monitor",
  launch: "/vms/new",
  adopt: "/vms/adopt",
  alerts: "/alerts",
  "alert-rules": "/alerts/rules",
  // Without those of security: each test signs in.
  events: "/events?category=vm",
  account: "/account",
  "second-factor": "/account/second-factor",
  "confirm-password": "/confirm-password",
  admin: "/admin",
  accounts: "/admin/accounts",
};

/** What is different at every look, by more than a few letters. */
const LIVE = [
  ".plot", ".host-usage", ".spark", ".value", ".now", ".foot", ".metric", ".rates", ".up", "time", ".per-vm tbody",
].join();

const test = base.extend({
  server: [
    async ({}, use) => {
      const args = ["--provider", "simulated", "--simulated-vms", `${VMS}`, "--max-vms", "20"];
      const server = await startServer({ name: "pictures", args });
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],
  // A fleet with events, the same each time.
  fleet: [
    async ({ server, browser }, use) => {
      const context = await browser.newContext({ baseURL: server.url });
      await enter(await context.newPage(), "/setup", { ...USER, setup_code: server.setupCode });
      await furnish(client(context.request, server.url));
      await context.close();
      if (KEEP) await new Promise((wake) => setTimeout(wake, HISTORY_MS));
      await use(server);
    },
    { scope: "worker", timeout: (KEEP ? HISTORY_MS : 0) + 180_000 },
  ],
  baseURL: ({ server }, use) => use(server.url),
  page: async ({ page }, use) => {
    // Chromium hides its scrollbar here, but would leave it its room: an empty strip.
    await page.addInitScript(applyRules, "html { scrollbar-gutter: auto }");
    await use(page);
  },
  // Times on the pages are those of the browser's zone.
  timezoneId: "UTC",
  locale: "en-GB",
});

test("setup", ({ page }) => looksAsKept(page, "setup", "/setup"));

for (const name of ["sign-in", "register", "new-password"]) {
  test(name, ({ page, fleet }) => looksAsKept(page, name, `/${name}`));
}

test("not-found", ({ page, fleet, problems }) => {
  problems.allow(/status of 404/);
  return looksAsKept(page, "not-found", "/nowhere");
});

for (const [name, path] of Object.entries(PAGES)) {
  test(name, async ({ page, context, fleet }) => {
    await signIn(context, fleet.url);
    await looksAsKept(page, name, path);
  });
}

/** What can become of a page: without its stylesheet, in the other theme, out of place, too large. */
const BREAKS = {
  "without its stylesheet": { css: false },
  "in the other theme": { theme: "dark" },
  "40 pixels further down": { rules: "main { position: relative; top: 40px }" },
  "40 pixels further right": { rules: "main { position: relative; left: 40px }" },
  "half as large again": { rules: "main { zoom: 1.5 }" },
};

// The page of which most is live, one of which hardly anything is, and the emptiest.
for (const name of ["monitor", "launch", "alerts"]) {
  test(`${name}, broken, is not taken for whole`, async ({ page, context, fleet }) => {
    await signIn(context, fleet.url);
    for (const size of SIZES) {
      await page.setViewportSize(size);
      await open(page, PAGES[name]);
      const { picture: whole } = await take(page, "light");
      for (const [how, { css = true, theme = "light", rules = "" }] of Object.entries(BREAKS)) {
        await page.locator("link[rel=stylesheet]").evaluate((link, css) => (link.disabled = !css), css);
        await page.evaluate(applyRules, rules);
        const { picture, live } = await take(page, theme);
        await page.evaluate(() => document.adoptedStyleSheets.pop());
        expect.soft(isSame(await compared(page, whole, picture, live)), `${how}, ${size.width} pixels wide`).toBe(false);
      }
    }
  });
}

/** Runs in the page, whose content policy lets no `<style>` in. */
function applyRules(rules) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules);
  document.adoptedStyleSheets.push(sheet);
}

/** Goes through a page's themes and widths, and keeps or compares a picture of each. */
async function looksAsKept(page, name, path) {
  for (const size of SIZES) {
    await page.setViewportSize(size);
    await open(page, path);
    const letters = await widthsOfLetters(page);
    if (KEEP) await writeFile(KEPT_LETTERS, `${JSON.stringify(letters)}\n`);
    else await skipWithOtherLetters(letters);
    for (const theme of THEMES) {
      const { picture, live } = await take(page, theme);
      const file = `${name}-${theme}-${size.width}.png`;
      if (KEEP) {
        await writeFile(join(KEPT, file), picture);
      } else {
        await isAsKept(page, file, picture, live);
      }
    }
  }
}

/** Of the page's fonts, in hundredths of their size. */
const widthsOfLetters = (page) =>
  page.evaluate(() => {
    const pen = document.createElement("canvas").getContext("2d");
    const { fontFamily } = getComputedStyle(document.body);
    const widths = {};
    for (const font of [`400 100px ${fontFamily}`, `600 100px ${fontFamily}`, "400 100px ui-monospace, monospace"]) {
      pen.font = font;
      widths[font] = Math.round(pen.measureText("Handgloves 0123456789").width);
    }
    return widths;
  });

async function skipWithOtherLetters(letters) {
  const kept = JSON.parse(await readFile(KEPT_LETTERS, "utf8"));
  const why = "this machine's fonts are not those of docs/pictures: nothing is compared (make pictures keeps your own)";
  test.skip(JSON.stringify(letters) !== JSON.stringify(kept), why);
}

async function isAsKept(page, file, picture, live) {
  const kept = await readFile(join(KEPT, file)).catch(() => undefined);
  const verdict = kept && (await compared(page, kept, picture, live));
  if (verdict && isSame(verdict)) return;

  const folder = join(RESULTS, "pictures");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, file), picture);
  const lines = [`docs/pictures/${file} shows another page: ${verdict ? differences(verdict) : "there is no such file"}.`];
  lines.push(`Now it looks like ${relative(ROOT, join(folder, file))}.`);
  if (verdict) {
    await writeFile(join(folder, `marked-${file}`), verdict.marked, "base64");
    lines.push(`In marked-${file} beside it, what differs is framed and what is live is grey.`);
  }
  lines.push("If it is as it should be, keep new pictures: make pictures");
  expect.soft(false, lines.join("\n")).toBe(true);
}

function differences({ sameSize, share, compared }) {
  if (!sameSize) return "it has another size";
  const percent = (part) => `${(100 * part).toFixed(1)} %`;
  return compared < MIN_COMPARED
    ? `only ${percent(compared)} of it are not live, and less than ${percent(MIN_COMPARED)} say nothing`
    : `${percent(share)} of it differ, and ${percent(MAX_SHARE)} may`;
}

/** Waits until wasm has the page and its charts are drawn. */
async function open(page, path) {
  await page.goto(path);
  await hydrated(page);
  await page.waitForFunction(() => [...document.querySelectorAll(".plot")].every((plot) => plot.matches(".drawn")));
}

/** A picture of what is to be seen, and the boxes of what is live in it. */
async function take(page, colorScheme) {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  // Charts redraw in a frame after that.
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  const picture = await page.screenshot({ animations: "disabled" });
  const live = await page.evaluate((live) => [...document.querySelectorAll(live)].map((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x, y, width, height };
  }), LIVE);
  return { picture, live };
}

async function compared(page, kept, picture, live) {
  const blank = await page.context().newPage();
  try {
    return await compare(blank, kept, picture, live);
  } finally {
    await blank.close();
  }
}
