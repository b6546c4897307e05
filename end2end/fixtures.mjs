// What the suites share: a page whose console must stay clean, a simulated fleet with its admin, how to call the server and
// how to look into a chart.

import { test as base, expect } from "@playwright/test";
import axe from "axe-core";
import { join } from "node:path";
import { RESULTS, startServer } from "./server.mjs";

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

/** What Chromium says about a page without scripts: nothing uses what is loaded ahead. */
export const UNUSED_AHEAD = /preloaded using link preload/;

/** How often pages without live metrics poll. */
export const POLL_MS = 5_000;

/**
 * A `test` for the tests of one file, which share a server with a simulated fleet. Its admin is `USER`, who every page is
 * signed in as; without `hasAdmin` the server is as on its first start. `args` are further flags of the server. A test leaves the fleet as it was, so that each runs
 * in any order and alone.
 */
export function withFleet({ name, vms = 5, hasAdmin = true, args: more = [] }) {
  return test.extend({
    server: [
      async ({}, use, { workerIndex }) => {
        const args = ["--provider", "simulated", "--simulated-vms", `${vms}`, "--collect-every", "1", ...more];
        const server = await startServer({ name: `${name}-${workerIndex}`, args });
        await use(server);
        await server.stop();
      },
      { scope: "worker" },
    ],
    // Calls the server as the admin, whose session all tests share: a debug server takes half a second to hash a password.
    api: [
      async ({ playwright, server }, use) => {
        const request = await playwright.request.newContext();
        const calls = client(request, server.url);
        if (hasAdmin) await register(calls, server);
        await use({ ...calls, session: await request.storageState() });
        await request.dispose();
      },
      { scope: "worker" },
    ],
    baseURL: ({ server }, use) => use(server.url),
    storageState: ({ api }, use) => use(api.session),
  });
}

/** Registers the admin, who is given the fleet, and waits for its first values: percentages come with the second sample. */
async function register({ get, post }, { setupCode }) {
  await post("register", { ...USER, setup_code: setupCode });
  await expect.poll(async () => (await get("list_vms")).map((vm) => vm.figures.cpu_percent)).not.toContain(null);
}

/** Calls the server functions at `url`, signed in as `request` is. */
export function client(request, url) {
  const headers = { origin: url, accept: "application/json" };
  const answer = async (endpoint, reply) => {
    expect(reply.ok(), `${endpoint}: ${await reply.text()}`).toBe(true);
    return reply.json();
  };
  return {
    get: async (endpoint) => answer(endpoint, await request.get(`${url}/api/v1/${endpoint}`, { headers })),
    post: async (endpoint, form) => answer(endpoint, await request.post(`${url}/api/v1/${endpoint}`, { form, headers })),
  };
}

/** Saves an alert rule; `fields` are those of its form. */
export function saveRule({ post }, fields) {
  const rule = { comparison: "above", severity: "warning", is_enabled: "on", ...fields };
  return post("save_alert_rule", Object.fromEntries(Object.entries(rule).map(([name, value]) => [`rule[${name}]`, `${value}`])));
}

/** Launches a VM, and waits until it runs. Gives its id. */
export async function launch(api, name) {
  const { vm_id } = await api.post("launch_vm", { name, image: "alpine-3.23", ram_mb: 256, cpu_cores: 1, disk_gb: 4 });
  await becomes(api, vm_id, "running");
  return vm_id;
}

/** Destroys a VM, and waits until it is gone. */
export async function destroy(api, name) {
  const { id } = (await api.get("list_vms")).find((vm) => vm.name === name);
  await api.post("destroy_vm", { vm_id: id, confirm_name: name });
  await becomes(api, id, undefined);
}

/** With the fleet, when an operation is requested. */
const PATIENCE = { timeout: 40_000 };

/** Waits until a VM has the status, or is gone when it is `undefined`. */
export const becomes = ({ get }, id, status) =>
  expect.poll(async () => (await get("list_vms")).find((vm) => vm.id === id)?.status, PATIENCE).toBe(status);

/** Gives a fleet of 8 VMs or more a past, in an order that is the same each time, since the events tell it. */
export async function furnish(api) {
  const { get, post } = api;
  // Which of these alerts would be raised depends on the host and the hour: none is before an hour has passed.
  for (const { id, scope, metric, threshold, severity } of await get("alert_rules")) {
    if (threshold !== null) await saveRule(api, { id, scope, metric, threshold, severity, for_secs: 3600 });
  }
  await post("create_account", { username: "bob", email: "bob@example.org", password: USER.password, role: "user" });
  await post("set_auto_start", { vm_id: 1, auto_start: true });
  await post("save_snapshot", { vm_id: 1, snapshot: "before-upgrade" });
  await expect.poll(async () => (await get("vm_snapshots?vm_id=1")).length, PATIENCE).toBe(1);
  await post("stop_vm", { vm_id: 8 });
  await becomes(api, 8, "stopped");
  await post("suspend_vm", { vm_id: 4 });
  await becomes(api, 4, "suspended");
  await saveRule(api, { scope: "vm:3", metric: "cpu", threshold: 20, for_secs: 5 });
  await saveRule(api, { scope: "vm:2", metric: "memory", threshold: 10, for_secs: 5, severity: "info" });
  await expect.poll(async () => (await get("open_alerts")).length, PATIENCE).toBe(2);
}

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

/**
 * Signs the context in without a page, as a form of the site itself would. Without the cookie that it may have: that would
 * end the session which all tests share.
 */
export async function signIn(context, url) {
  const { username, password } = USER;
  await context.clearCookies();
  await client(context.request, url).post("sign_in", { username, password });
}

export const status = (page) => page.getByTestId("status").first();

export const row = (page, name) => page.locator(`[data-vm="${name}"]`);

/** The name of a VM in the overview that runs. */
export const firstRunning = (page) =>
  page.locator("[data-vm]").filter({ hasText: /running/i }).first().getAttribute("data-vm");

/** A VM that runs, the first. */
export const runningVm = async ({ get }) => (await get("list_vms")).find((vm) => vm.status === "running");

/** Opens the page of a VM that runs. Gives the VM. */
export async function openRunning(page, api) {
  const vm = await runningVm(api);
  await page.goto(`/vms/${vm.id}`);
  await hydrated(page);
  await expect(status(page)).toHaveText(/running/i);
  await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
  return vm;
}

/** The same by its link in the overview, within one document. */
export async function followRunning(page) {
  await page.goto("/");
  await hydrated(page);
  await row(page, await firstRunning(page)).getByRole("link").first().click();
  await expect(status(page)).toHaveText(/running/i);
  await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
}

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

/** Waits until a chart has a point that is newer than `after`. */
export async function appended(page, figure, after) {
  await expect.poll(async () => (await inspect(chart(page, figure))).lastPointAt, { timeout: 3 * POLL_MS })
    .toBeGreaterThan(after);
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

/** A screenshot for developers, `test-results/shots/NAME.png`. */
export const shot = (page, name) => page.screenshot({ path: join(RESULTS, "shots", `${name}.png`), fullPage: true });

const WIDTHS = [1280, 390];

/** Puts the page into both themes at both widths, one after the other; `open` loads it at each width. */
export async function inEachLook(page, look, open = async () => {}) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ reducedMotion: "reduce" });
    await open();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await look(`${colorScheme}-${width}`);
    }
  }
}

/** Checks that the page at `path` fits in each look. */
export function fitsInEachLook(page, name, path) {
  const open = async () => {
    await page.goto(path);
    await hydrated(page);
  };
  return inEachLook(page, (look) => fits(page, name, look), open);
}

/** Takes the page's picture; it must not scroll sideways, nor keep anybody from using it. */
export async function fits(page, name, look) {
  await shot(page, `${name}-${look}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow, `${name} scrolls sideways`).toBeLessThanOrEqual(0);
  expect(await violations(page), `${name} for everybody`).toEqual([]);
}

/** Presses a button, which may stand under "More". */
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
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe.source);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const found = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] }), tags);
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.failureSummary.split("\n")[1] ?? ""}`));
}
