// What the suites share: a page whose console must stay clean, a user, and access to a chart's data.

import { test as base, expect } from "@playwright/test";
import axe from "axe-core";
import { join } from "node:path";
import { RESULTS } from "./server.mjs";

export { expect };

export const USER = { username: "ada", email: "ada@example.org", password: "correct horse battery" };

/** Collects what a browser complains about. `allow(pattern)` is for complaints that a test provokes. */
class Problems {
  #seen = [];
  #allowed = [];

  watch(page) {
    page.on("console", (message) => {
      if (["warning", "error", "assert"].includes(message.type())) {
        this.#seen.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
      }
    });
    page.on("pageerror", (error) => this.#seen.push(`page error: ${error.stack ?? error}`));
  }

  allow(pattern) {
    this.#allowed.push(pattern);
  }

  unexpected() {
    return this.#seen.filter((text) => !this.#allowed.some((pattern) => pattern.test(text)));
  }
}

export const test = base.extend({
  problems: [
    async ({}, use) => {
      const problems = new Problems();
      await use(problems);
      expect(problems.unexpected(), "the browser complained").toEqual([]);
    },
    { auto: true },
  ],
  page: async ({ page, problems }, use) => {
    problems.watch(page);
    await use(page);
  },
});

/** Fills in the form of `/setup`, `/register` or `/sign-in` and sends it; works without JavaScript too. */
export async function enter(page, path, fields) {
  await page.goto(path);
  for (const [name, value] of Object.entries(fields)) {
    await page.locator(`form [name=${name}]`).fill(value);
  }
  await submit(page, "password");
  await expect(page).toHaveURL("/");
}

/** Sends the form that has a field of this name. */
export const submit = (page, field) => page.locator(`form:has([name=${field}]) button:not([type=button])`).click();

/** Signs the context in without a page, as a form of the site itself would. */
export async function signIn(context, url) {
  const { username, password } = USER;
  const reply = await context.request.post(`${url}/api/v1/sign_in`, {
    form: { username, password },
    headers: { origin: url, accept: "application/json" },
  });
  expect(reply.ok(), await reply.text()).toBe(true);
}

export const status = (page) => page.getByTestId("status").first();

export const row = (page, name) => page.locator(`[data-vm="${name}"]`);

/** Waits until wasm has taken the page over: before that, only what needs no script works. */
export async function hydrated(page) {
  await page.waitForFunction(() => performance.getEntriesByType("resource").some((r) => r.name.endsWith(".wasm")));
  await page.waitForLoadState("networkidle");
}

export const METRICS = ["cpu", "memory", "disk", "network"];

export const chart = (page, metric) => page.getByTestId(`chart-${metric}`);

/** The ECharts instance's id, the time of its last point, and whether its canvas is the one marked before. */
export function inspect(chart) {
  return chart.locator("canvas").first().evaluate((canvas) => {
    const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
    const sameCanvas = canvas.dataset.marked === "yes";
    canvas.dataset.marked = "yes";
    const times = instance.getOption().series.map((series) => {
      const last = series.data?.at(-1);
      return (last?.value ?? last)?.[0] ?? 0;
    });
    return { id: instance.id, lastPointAt: Math.max(...times.map((time) => +new Date(time))), sameCanvas };
  });
}

/** Counts the requests to the server from now on. */
export function countCalls(page) {
  const calls = [];
  page.on("request", (request) => {
    if (new URL(request.url()).pathname.startsWith("/api/")) calls.push(request.url());
  });
  return calls;
}

export async function setVisibility(page, state) {
  await page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
    Object.defineProperty(document, "hidden", { configurable: true, get: () => state === "hidden" });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
}

/** A screenshot for developers, `test-results/shots/NAME.png`. */
export const shot = (page, name) => page.screenshot({ path: join(RESULTS, "shots", `${name}.png`), fullPage: true });

/** Presses a button, which may be under "More". */
export async function press(page, name) {
  const button = page.getByRole("button", { name, exact: true });
  if ((await button.count()) === 0) await page.getByTestId("more").click();
  await button.click();
}

/** Opens the dialog of what destroys something, and types the name that it wants. */
export async function confirm(place, label, name) {
  await place.getByRole("button", { name: label }).click();
  await place.getByRole("dialog").getByRole("textbox").fill(name);
}

export const TABS = ["Overview", "Snapshots", "Activity", "Settings"];

/** Opens a tab of the VM's page by its link. */
export async function openTab(page, name) {
  const link = page.getByRole("navigation", { name: "VM sections" }).getByRole("link", { name, exact: true });
  await link.click();
  await expect(link).toHaveAttribute("aria-current", "page");
}

/** Requests an operation on a tab, and waits until the activity lists it as done and the VM has the status `then`. */
export async function operate(page, tab, request, then, options = {}) {
  await openTab(page, "Activity");
  const newest = page.getByTestId("operations").getByRole("listitem").first();
  const before = await newest.getByRole("link").getAttribute("href");
  await openTab(page, tab);
  await request();
  await openTab(page, "Activity");
  await expect(newest.getByRole("link")).not.toHaveAttribute("href", before, options);
  await expect(newest).toHaveAttribute("data-state", "succeeded", options);
  await expect(newest.locator("small")).toContainText("done");
  await expect(status(page)).toHaveText(then, options);
}

/** Goes through every operation of the VM whose page is open, which runs. `patience` is for real ones. */
export async function throughEverything(page, patience = {}) {
  await operate(page, "Overview", () => press(page, "Restart"), "running", patience);
  await operate(page, "Overview", () => press(page, "Suspend"), "suspended", patience);
  await operate(page, "Overview", () => press(page, "Resume"), "running", patience);

  const snapshots = page.getByTestId("snapshots");
  const save = async () => {
    await snapshots.getByLabel("Name").fill("before");
    await press(page, "Save snapshot");
  };
  const confirmed = (label, done) => async () => {
    await confirm(snapshots, `${label} before`, "before");
    await snapshots.getByRole("dialog").getByRole("button", { name: done, exact: true }).click();
  };
  await operate(page, "Snapshots", save, "running", patience);
  await openTab(page, "Snapshots");
  await expect(snapshots.locator(".what b")).toHaveText("before");
  await operate(page, "Snapshots", confirmed("Restore…", "Restore"), "running", patience);

  await openTab(page, "Settings");
  const resources = page.getByTestId("resources");
  await resources.getByLabel("Memory").fill("256");
  await resources.getByRole("button").click();
  await expect(page.getByTestId("next-spec")).toContainText("At the next start:");
  await operate(page, "Snapshots", confirmed("Delete…", "Delete"), "running", patience);
  await openTab(page, "Snapshots");
  await expect(snapshots.getByText("No snapshots yet.")).toBeVisible();
  await operate(page, "Settings", () => press(page, "Restart"), "running", patience);
  await expect(page.getByTestId("operations").getByRole("listitem").first()).toContainText(/restart.*done/i);
  await openTab(page, "Settings");
  await expect(page.getByTestId("next-spec")).toHaveText("Changes apply at the next start. Disks can only grow.");
}

/** Violations of WCAG 2.2 AA on the page: the rule and where it is broken. */
export async function violations(page) {
  await page.evaluate(axe.source);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const found = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } }), tags);
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.failureSummary.split("\n")[1] ?? ""}`));
}
