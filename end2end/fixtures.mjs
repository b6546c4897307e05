// What the suites share: a page whose console must stay clean, a person, and how to look into a chart.

import { test as base, expect } from "@playwright/test";
import axe from "axe-core";
import { join } from "node:path";
import { RESULTS } from "./server.mjs";

export { expect };

export const PERSON = { username: "ada", email: "ada@example.org", password: "correct horse battery" };

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
  const { username, password } = PERSON;
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

export const FIGURES = ["cpu", "memory", "disk", "network"];

export const chart = (page, figure) => page.getByTestId(`chart-${figure}`);

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

/** Counts the requests that ask the server for something, from now on. */
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

/** A picture for people, `test-results/shots/NAME.png`. */
export const shot = (page, name) => page.screenshot({ path: join(RESULTS, "shots", `${name}.png`), fullPage: true });

/** Presses a button, which may stand under "More". */
export async function press(page, name) {
  const button = page.getByRole("button", { name, exact: true });
  if ((await button.count()) === 0) await page.getByTestId("more").click();
  await button.click();
}

/** Opens the dialog of what destroys something, and types the name that it wants. */
export async function confirm(place, ask, name) {
  await place.getByRole("button", { name: ask }).click();
  await place.getByRole("dialog").getByRole("textbox").fill(name);
}

/** Presses what asks for an operation, and waits until that is done and the VM stands as it should. */
export async function operate(page, name, then, options = {}) {
  const newest = page.getByTestId("operations").getByRole("listitem").first();
  const before = await newest.getByRole("link").getAttribute("href");
  await press(page, name);
  await expect(newest.getByRole("link")).not.toHaveAttribute("href", before, options);
  await expect(newest).toContainText("done", options);
  await expect(status(page)).toHaveText(then, options);
}

/** Goes through everything that can be asked of the VM whose page is open, which runs. `patience` is for real ones. */
export async function throughEverything(page, patience = {}) {
  await operate(page, "Restart", "running", patience);
  await operate(page, "Suspend", "suspended", patience);
  await operate(page, "Resume", "running", patience);

  const snapshots = page.getByTestId("snapshots");
  await snapshots.getByLabel("Name").fill("before");
  await operate(page, "Save a snapshot", "running", patience);
  await expect(snapshots.locator(".what b")).toHaveText("before");
  await confirm(snapshots, "Restore… before", "before");
  await operate(page, "Restore it", "running", patience);

  const resources = page.getByTestId("resources");
  await resources.getByLabel("Memory").fill("256");
  await resources.getByRole("button").click();
  await expect(page.getByTestId("next-spec")).toContainText("From its next start on");
  await confirm(snapshots, "Delete… before", "before");
  await operate(page, "Delete it", "running", patience);
  await expect(snapshots.getByText("There are no snapshots yet.")).toBeVisible();
  await operate(page, "Restart", "running", patience);
  await expect(page.getByTestId("next-spec")).not.toContainText("From its next start on");
  await expect(page.getByTestId("operations").getByRole("listitem").first()).toContainText(/restart.*done/i);
}

/** What keeps somebody from using the page, by the rules of WCAG 2.2 AA: the rule and where it is broken. */
export async function violations(page) {
  await page.evaluate(axe.source);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const found = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: { type: "tag", values: tags } }), tags);
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.failureSummary.split("\n")[1] ?? ""}`));
}
