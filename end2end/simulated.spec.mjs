// What a user sees and does, with the simulated fleet: registers, watches, launches, stops, starts, destroys.

import { once } from "node:events";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { countCalls, chart, confirm, enter, expect, hydrated, inspect, METRICS, openTab, USER, press, row, setVisibility, shot, signIn, status, submit, TABS, test as base, throughEverything, violations } from "./fixtures.mjs";
import { ROOT, startServer } from "./server.mjs";

const VMS = 5;
const POLL_MS = 5_000;

let server;

const test = base.extend({
  server: [
    async ({}, use) => {
      const args = ["--provider", "simulated", "--simulated-vms", `${VMS}`, "--collect-every", "1"];
      server = await startServer({ name: "simulated", args });
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],
  baseURL: ({ server }, use) => use(server.url),
});

// Without scripts nothing uses what is loaded ahead.
const UNUSED_AHEAD = /preloaded using link preload/;

test.describe.configure({ mode: "serial" });

test("the first start greets its owner, and takes a form without JavaScript", async ({ page, browser, problems }) => {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.goto("/");
      await expect(page).toHaveURL("/setup");
      await hydrated(page);
      await fits(page, "setup", `${colorScheme}-${width}`);
    }
  }
  await expect(page.getByTestId("provider")).toHaveText("Simulated fleet");
  await page.locator("[name=username]").fill("ada");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-field=password]")).toHaveText(/10 characters/);

  // Without scripts nothing uses what is loaded ahead.
  problems.allow(/preloaded using link preload/);
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
  const plain = await context.newPage();
  problems.watch(plain);
  await plain.goto("/register");
  await expect(plain).toHaveURL("/setup");
  for (const [name, value] of Object.entries({ ...USER, password: "too short" })) {
    await plain.locator(`[name=${name}]`).fill(value);
  }
  await submit(plain, "password");
  await expect(plain.getByTestId("error")).toContainText("10");
  await expect(plain.locator("[name=email]")).toHaveValue(USER.email);
  await expect(plain.locator("[name=password]")).toHaveValue("");
  await context.close();
});

test("the first account is the admin's and sees the simulated fleet", async ({ page, context }) => {
  await enter(page, "/setup", USER);
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(page.getByText("Simulated").first()).toBeVisible();
  const me = await (await context.request.get("/api/v1/current_user")).json();
  expect(me).toMatchObject({ username: USER.username, role: "admin" });
});

test("metrics are shown without JavaScript", async ({ browser, problems }) => {
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
  problems.allow(UNUSED_AHEAD);
  const page = await context.newPage();
  problems.watch(page);
  const { username, password } = USER;
  await enter(page, "/sign-in", { username, password });
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(page.locator("[data-vm]").filter({ hasText: /\d\s?%/ }).first()).toBeVisible();
  await row(page, await firstRunning(page)).getByRole("link").first().click();
  await expect(status(page)).toHaveText(/running/i);
  await expect(page.locator("main")).toContainText(/\d\s?%/);
  await context.close();
});

test("signing in leads to the requested page, with and without JavaScript", async ({ browser, problems }) => {
  problems.allow(UNUSED_AHEAD);
  for (const javaScriptEnabled of [true, false]) {
    const context = await browser.newContext({ javaScriptEnabled, baseURL: server.url });
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/events?severity=info");
    await expect(page).toHaveURL(/\/sign-in\?next=/);
    if (javaScriptEnabled) await hydrated(page);
    for (const [name, value] of Object.entries({ username: USER.username, password: USER.password })) {
      await page.locator(`form [name=${name}]`).fill(value);
    }
    await submit(page, "password");
    await expect(page).toHaveURL("/events?severity=info");
    await context.close();
  }
});

test("open alerts are listed without JavaScript", async ({ browser, problems }) => {
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
  problems.allow(UNUSED_AHEAD);
  await signIn(context, server.url);
  const page = await context.newPage();
  problems.watch(page);
  await page.goto("/");
  const list = page.getByTestId("alert-list");
  await expect(list).toBeHidden();
  await page.getByRole("button", { name: /open alert/i }).click();
  await expect(list).toBeVisible();
  await context.close();
});

test("a launch that is rejected without JavaScript keeps the entered values", async ({ browser, problems }) => {
  const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
  problems.allow(UNUSED_AHEAD);
  await signIn(context, server.url);
  const page = await context.newPage();
  problems.watch(page);
  await page.goto("/");
  const taken = await firstRunning(page);
  await page.goto("/vms/new");
  await page.locator("[name=name]").fill(taken);
  await page.locator("[name=ram_mb]").fill("2048");
  await page.getByRole("button", { name: /launch/i }).click();
  await expect(page.getByTestId("error")).toContainText(`You already have a VM called ${taken}.`);
  await expect(page.locator("[name=name]")).toHaveValue(taken);
  await expect(page.locator("[name=ram_mb]")).toHaveValue("2048");
  await context.close();
});

test.describe("signed in", () => {
  test.beforeEach(({ context }) => signIn(context, server.url));

  test("the overview's values and sparklines update by themselves, in tiles and rows", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const shown = () =>
      Promise.all([
        page.getByTestId("tile-network").locator(".value").textContent(),
        page.locator("[data-status=running] .rates").first().textContent(),
        page.getByTestId("tile-cpu").locator(".line").getAttribute("d"),
        page.locator("[data-status=running] .spark .line").first().getAttribute("d"),
      ]);
    const before = await shown();
    for (const [i, old] of before.entries()) {
      await expect.poll(async () => (await shown())[i], { timeout: 40_000 }).not.toBe(old);
    }
  });

  test("four charts grow in place: the same canvas, the same chart", async ({ page }) => {
    await openRunning(page);
    const before = {};
    for (const metric of METRICS) {
      await expect(chart(page, metric).locator("canvas").first()).toBeVisible();
      before[metric] = await inspect(chart(page, metric));
    }
    for (let poll = 0; poll < 2; poll++) {
      for (const metric of METRICS) {
        await appended(page, metric, before[metric].lastPointAt);
        const now = await inspect(chart(page, metric));
        expect(now).toMatchObject({ id: before[metric].id, sameCanvas: true });
        before[metric] = now;
      }
    }
  });

  test("an admin sees how the collector is doing, and sees it go on", async ({ page }) => {
    await page.goto("/monitor");
    await hydrated(page);
    await expect(page.getByTestId("collector-state")).toHaveText("working");
    await expect(page.getByTestId("collector-sources")).toHaveText(/^\d+ simulated/);
    const ticks = async () => Number(await page.getByTestId("collector-ticks").textContent());
    const before = await ticks();
    await expect.poll(ticks, { timeout: 3 * POLL_MS }).toBeGreaterThan(before);
  });

  test("an admin finds any VM by its owner, and sees how the store is doing", async ({ page }) => {
    await page.goto("/admin?search=nobody");
    await hydrated(page);
    const all = page.getByTestId("all-vms");
    await expect(all).toContainText("No matching VMs.");
    await all.getByRole("link", { name: "Show all" }).click();
    await expect(all.locator("[data-vm]")).toHaveCount(VMS);
    const name = await firstRunning(page);
    await all.getByRole("searchbox").fill(name);
    await expect(all.locator("[data-vm]")).toHaveCount(1);
    await expect(row(page, name)).toContainText(USER.username);
    await expect(row(page, name)).toContainText(/\d+ cores?, .* GB/);
    await expect(row(page, name).locator("[data-label=CPU]")).toContainText(/\d %/);

    const store = page.getByTestId("store");
    await expect(store.getByTestId("store-file")).toHaveText(/\d (KB|MB)/);
    await expect(store).toContainText("7 days");
    await expect(page.getByTestId("collector-state")).toHaveText("working");
    const rows = async () => parseInt(await store.getByTestId("store-waiting").textContent());
    const before = await rows();
    await expect.poll(rows, { timeout: 3 * POLL_MS }).toBeGreaterThan(before);
    await row(page, name).getByRole("link").click();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
  });

  test("a hidden tab requests nothing and catches up when it is visible again", async ({ page }) => {
    await openRunning(page);
    const { lastPointAt } = await inspect(chart(page, "cpu"));
    await setVisibility(page, "hidden");
    await page.waitForLoadState("networkidle");
    const calls = countCalls(page);
    await page.waitForTimeout(2.5 * POLL_MS); // the absence of polls cannot be awaited otherwise
    expect(calls).toEqual([]);
    await setVisibility(page, "visible");
    await expect.poll(async () => (await inspect(chart(page, "cpu"))).lastPointAt - lastPointAt, { timeout: POLL_MS })
      .toBeGreaterThan(2 * POLL_MS);
  });

  test("a lost connection is said and found again", async ({ page, context, problems }) => {
    problems.allow(/ERR_INTERNET_DISCONNECTED|ERR_FAILED|Failed to fetch/);
    await openRunning(page);
    await context.setOffline(true);
    await expect(page.getByText(/reconnecting/i)).toBeVisible({ timeout: 4 * POLL_MS });
    const { lastPointAt, id } = await inspect(chart(page, "cpu"));
    await context.setOffline(false);
    await expect(page.getByText(/reconnecting/i)).toBeHidden({ timeout: 8 * POLL_MS });
    await appended(page, "cpu", lastPointAt);
    expect((await inspect(chart(page, "cpu"))).id).toBe(id);
  });

  test("the bell lists open alerts and its list closes with Escape", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const bell = page.getByTestId("alert-bell");
    const list = page.getByTestId("alert-list");
    await bell.click();
    await expect(list).toBeVisible();
    await expect(list).toBeInViewport({ ratio: 1 });
    // One may come or go between two looks.
    await expect(async () => {
      const alerts = await (await page.request.get("/api/v1/open_alerts")).json();
      expect(await list.getByRole("listitem").count()).toBe(alerts.length);
    }).toPass();
    await page.keyboard.press("Escape");
    await expect(list).toBeHidden();
    await expect(bell).toBeFocused();
    // The rail counts them on every page.
    await page.goto("/account");
    await hydrated(page);
    const entry = page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /^Alerts/ });
    const shownCount = async () => Number((await entry.locator(".count").allTextContents()).map((text) => text.match(/\d+/)[0])[0] ?? 0);
    const open = async () => (await page.request.get("/api/v1/open_alert_count")).json();
    await expect(async () => {
      await page.reload();
      expect(await shownCount()).toBe(await open());
    }).toPass();
  });

  test("leaving a VM's page disposes of its charts", async ({ page }) => {
    await openRunning(page);
    const left = await chart(page, "cpu").locator("canvas").first()
      .evaluateHandle((canvas) => canvas.closest("[_echarts_instance_]"));
    const isAlive = () => left.evaluate((element) => globalThis.echarts.getInstanceByDom(element) !== undefined);
    expect(await isAlive()).toBe(true);
    await page.getByRole("navigation").getByRole("link", { name: /overview|machines|vms/i }).first().click();
    await expect(page.locator("[data-vm]").first()).toBeVisible();
    await expect.poll(isAlive).toBe(false);
  });

  test("a launch form with nonsense says what is wrong with each field", async ({ page, problems }) => {
    problems.allow(/status of 400/);
    await page.goto("/vms/new");
    await hydrated(page);
    const nonsense = { name: "-db-", ram_mb: "1", cpu_cores: "99", disk_gb: "99999" };
    for (const [name, value] of Object.entries(nonsense)) {
      await page.locator(`[name=${name}]`).fill(value);
    }
    await page.getByRole("button", { name: /launch/i }).click();
    for (const name of Object.keys(nonsense)) {
      await expect(page.locator(`[name=${name}]`)).toHaveAttribute("aria-invalid", "true");
      await expect(page.locator(`[name=${name}]`)).toHaveAccessibleDescription(/\w+ \w+/);
    }
    await expect(page).toHaveURL("/vms/new");
  });

  test("a VM is launched, stopped, started and destroyed", async ({ page }) => {
    const name = "end-to-end";
    await page.goto("/vms/new");
    await hydrated(page);
    const quota = page.getByTestId("quota");
    await expect(quota).toContainText(/VMs\s*0 of/);
    await page.locator("[name=name]").fill(name);
    await page.getByRole("button", { name: /launch/i }).click();
    await expect(page).toHaveURL(/\/vms\/\d+$/);
    await expect(quota).toContainText(/VMs\s*1 of/);
    await expect(status(page)).toHaveText(/pending/i);
    await expect(page.locator("main")).toContainText(/launching/i);
    await expect(status(page)).toHaveText(/running/i);

    await page.getByRole("button", { name: /^stop/i }).click();
    await expect(status(page)).toHaveText(/stopped/i);
    await expect(page.getByTestId("events")).toContainText(/requested a stop/);
    await page.getByRole("button", { name: /^start/i }).click();
    await expect(status(page)).toHaveText(/running/i);

    await openTab(page, "Settings");
    await page.getByTestId("destroy").click();
    await page.locator("[name=confirm_name]").fill(name);
    await submit(page, "confirm_name");
    await expect(page).toHaveURL("/");
    await expect(row(page, name)).toHaveCount(0);
    await expect(page.locator("[data-vm]")).toHaveCount(VMS);
    await expect(quota).toContainText(/VMs\s*0 of/);
  });

  test("destructive actions ask in a dialog that the keyboard can use", async ({ page }) => {
    await openRunning(page);
    const name = await page.getByRole("heading", { level: 1 }).textContent();
    await openTab(page, "Settings");
    const ask = page.getByTestId("destroy");
    const dialog = page.getByRole("dialog");
    const field = dialog.getByRole("textbox");
    const destroy = dialog.getByRole("button", { name: "Destroy", exact: true });
    await ask.focus();
    await page.keyboard.press("Space");
    await expect(field).toBeFocused();
    await page.keyboard.type(`${name}-2`);
    await expect(destroy).toBeDisabled();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await shot(page, `destroy-${colorScheme}`);
      expect(await violations(page)).toEqual([]);
    }
    await page.keyboard.press("Escape");
    await expect(dialog).toBeHidden();
    await expect(ask).toBeFocused();
    await page.keyboard.press("Enter");
    await expect(field).toHaveValue("");
    await page.keyboard.type(name);
    await expect(destroy).toBeEnabled();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await expect(dialog).toBeHidden();
    await expect(ask).toBeFocused();
  });

  test("destructive actions ask without JavaScript, too", async ({ browser, problems }) => {
    // Without scripts nothing uses what is loaded ahead.
    problems.allow(/preloaded using link preload/);
    const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
    await signIn(context, server.url);
    const rule = { scope: "owner:1", metric: "swap", comparison: "above", threshold: "77", for_secs: "60", severity: "info", is_enabled: "on" };
    const form = Object.fromEntries(Object.entries(rule).map(([name, value]) => [`rule[${name}]`, value]));
    const made = await context.request.post("/api/v1/save_alert_rule", { form, headers: { origin: server.url, accept: "application/json" } });
    expect(made.ok(), await made.text()).toBe(true);
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/alerts/rules");
    const entry = page.locator("[data-rule]", { hasText: "Swap at 77 %" });
    const dialog = entry.getByRole("dialog");
    await entry.getByRole("button", { name: "Delete…" }).click();
    await shot(page, "delete-rule-plain");
    await dialog.getByRole("textbox").fill("memory");
    await dialog.getByRole("button", { name: "Delete rule" }).click();
    await expect(dialog.locator("input:invalid")).toHaveCount(1);
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await expect(dialog).toBeHidden();
    await confirm(entry, "Delete…", "swap");
    await dialog.getByRole("button", { name: "Delete rule" }).click();
    await expect(entry).toHaveCount(0);
    await context.close();
  });

  test("a VM goes through every operation", async ({ page }) => {
    test.slow();
    await page.goto("/vms/new");
    await hydrated(page);
    await page.locator("[name=name]").fill("all-of-it");
    await page.locator("select[name=image]").selectOption("alpine-3.23");
    await page.locator("[name=ram_mb]").fill("512");
    await expect(page.getByTestId("price")).toContainText("17 credits");
    await page.locator("[name=ram_mb]").fill("1024");
    await expect(page.getByTestId("price")).toContainText("22 credits");
    await page.getByLabel("Memory, by slider").press("ArrowRight");
    await expect(page.locator("[name=ram_mb]")).toHaveValue("1152");
    const preview = page.getByTestId("preview");
    await preview.locator("summary").click();
    await expect(preview).toContainText("libvirt.memory = 1152");
    await page.locator("[name=ram_mb]").fill("1024");
    await expect(preview).toContainText("libvirt.memory = 1024");
    await page.getByRole("button", { name: /launch/i }).click();
    await expect(page.getByTestId("progress")).toContainText(/launching/i);
    await expect(status(page)).toHaveText(/running/i, { timeout: 60_000 });
    await throughEverything(page, { timeout: 60_000 });

    const schedule = page.getByTestId("schedule");
    const autoStart = schedule.getByRole("switch", { name: "Start with the server" });
    await expect(autoStart).not.toBeChecked();
    await autoStart.click();
    await expect(autoStart).toBeChecked();
    await expect(page.getByTestId("stop-at")).toHaveText("No shutdown scheduled.");
    await schedule.locator("form:has(#stop-hours)").getByRole("button", { name: "Schedule" }).click();
    await expect(page.getByTestId("stop-at")).toContainText("Shuts down at");
    await schedule.getByRole("button", { name: "Cancel shutdown" }).click();
    await expect(page.getByTestId("stop-at")).toHaveText("No shutdown scheduled.");
    const later = new Date(Date.now() + 86_400_000);
    const local = new Date(later - later.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    await schedule.getByLabel("Shut down at").fill(local);
    await schedule.locator("form:has(#stop-time)").getByRole("button", { name: "Schedule" }).click();
    const planned = page.getByTestId("stop-at").getByRole("time");
    await expect(planned).toHaveAttribute("datetime", `${later.toISOString().slice(0, 16)}:00Z`);
    await page.getByTestId("vagrantfile").locator("summary").first().click();
    await expect(page.getByTestId("vagrantfile")).toContainText("libvirt.memory = 256");
    await openTab(page, "Activity");
    const launch = page.getByTestId("operations").getByRole("listitem").last();
    await expect(launch.getByTestId("output")).toHaveCount(0);
    await launch.getByRole("link").click();
    await expect(launch.getByTestId("output")).toContainText("Machine booted and ready!");
    await page.getByTestId("more").click();
    await confirm(page, "Power off…", "all-of-it");
    await page.getByRole("dialog").getByRole("button", { name: "Power off", exact: true }).click();
    await expect(status(page)).toHaveText(/stopped/i);
  });

  test("the outcome of an operation is announced in its own region, and closes by itself or by keyboard", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const region = page.getByRole("status").and(page.getByTestId("toasts"));
    const toast = (text) => region.locator(".toast", { hasText: text });
    const dismiss = (text) => toast(text).getByRole("button", { name: "Dismiss" });
    const name = await firstRunning(page);
    await page.getByRole("button", { name: `Stop ${name}`, exact: true }).click();
    const stopped = `${name} stopped.`;
    await expect(toast(stopped)).toBeVisible({ timeout: 30_000 });
    await dismiss(stopped).focus();
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await fits(page, "toast", `${colorScheme}-${width}`);
      }
    }
    await page.waitForTimeout(6_500); // it stays while it has the focus, which cannot be awaited otherwise
    await page.keyboard.press("Enter");
    await expect(toast(stopped)).toHaveCount(0);

    await page.setViewportSize({ width: 1280, height: 900 });
    await page.getByRole("button", { name: `Start ${name}`, exact: true }).click();
    const started = `${name} started.`;
    await expect(toast(started)).toBeVisible({ timeout: 30_000 });
    await toast(started).hover();
    await page.waitForTimeout(6_500); // it stays while it is pointed at, too
    await expect(toast(started)).toBeVisible();
    await page.mouse.move(0, 0);
    await expect(toast(started)).toHaveCount(0);

    await page.goto("/account");
    await hydrated(page);
    await page.getByTestId("theme").getByRole("button", { name: "System" }).click();
    await expect(toast("Theme saved")).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(toast("Theme saved")).toHaveCount(0);
  });

  test("a launch is cancelled and leaves no machine", async ({ page }) => {
    await page.goto("/vms/new");
    await hydrated(page);
    await page.locator("[name=name]").fill("changed-my-mind");
    await page.getByRole("button", { name: /launch/i }).click();
    await page.getByTestId("cancel").click();
    await expect(status(page)).toHaveText(/not created/i);
    await openTab(page, "Activity");
    await expect(page.getByTestId("operations")).toContainText("cancelled");
    await page.goto("/admin");
    await hydrated(page);
    const orphan = page.getByTestId("orphans").getByRole("listitem").filter({ hasText: "changed-my-mind" });
    await confirm(orphan, "Clean up…", "user1-changed-my-mind");
    await orphan.getByRole("button", { name: "Delete permanently" }).click();
    await expect(page.getByTestId("orphans")).toContainText("None found.");
  });

  test("charts show any time: a preset, an earlier one, what is drawn across them, and back again", async ({ page }) => {
    await openRunning(page);
    const ranges = page.getByTestId("ranges");
    const address = new URL(page.url()).pathname;
    await ranges.getByRole("link", { name: "1 h", exact: true }).click();
    await expect(page).toHaveURL(`${address}?range=1h`);
    await expect(ranges.getByRole("link", { name: "1 h", exact: true })).toHaveAttribute("aria-current", "true");
    await expect(chart(page, "cpu")).toContainText(/mean \d.*max \d/);
    const canvas = chart(page, "cpu").locator("canvas").first();
    await expect.poll(() => timeAxis(canvas)).toBeCloseTo(3600, -1);

    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await expect(page).toHaveURL(/\?from=.*&to=/);
    await expect.poll(() => timeAxis(canvas)).toBeLessThan(2000);
    await expect(page.getByTestId("custom-range")).toBeVisible();
    await ranges.getByRole("link", { name: "Zoom out" }).click();
    await expect.poll(() => timeAxis(canvas)).toBeGreaterThan(2000);
    await page.goBack();
    await page.goBack();
    await expect(page).toHaveURL(`${address}?range=1h`);
    await expect.poll(() => timeAxis(canvas)).toBeCloseTo(3600, -1);
  });

  test("what the charts show can be read as a table and saved as files", async ({ page }) => {
    await openRunning(page);
    const table = page.getByTestId("chart-table");
    await table.locator("summary").click();
    await expect(table.getByRole("row").nth(1)).toContainText("%");
    const vmId = Number(new URL(page.url()).pathname.split("/").at(-1));
    await page.request.post("/api/v1/stop_after", { form: { vm_id: vmId, hours: "8" }, headers: { origin: server.url } });
    await press(page, "Restart");
    await expect(table.locator("td.events", { hasText: "restart" }).first()).toBeVisible({ timeout: 2 * POLL_MS });
    const marks = () => chart(page, "cpu").locator("canvas").first().evaluate((canvas) => {
      const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
      return instance.getOption().series[0].markLine.data.map((mark) => mark.name);
    });
    await expect.poll(marks).toContainEqual(expect.stringMatching(/restart/));
    // Under the pointer it says what it is about, all of it within the chart, also at its edge.
    const plot = chart(page, "cpu").locator("canvas").first();
    const pixel = () => plot.evaluate((canvas) => {
      const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
      const mark = instance.getOption().series[0].markLine.data.findLast((mark) => /restart/.test(mark.name));
      return instance.convertToPixel({ xAxisIndex: 0 }, mark.xAxis);
    });
    const words = () => plot.evaluate((canvas) => {
      const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
      const [width, height] = [instance.getWidth(), instance.getHeight()];
      const texts = instance.getZr().storage.getDisplayList(true).filter((one) => /restart/.test(one.style?.text ?? ""));
      return texts.map((text) => {
        const rect = text.getBoundingRect().clone();
        if (text.transform) rect.applyTransform(text.transform);
        return rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= width && rect.y + rect.height <= height;
      });
    });
    await expect(async () => {
      const { x, y, height } = await plot.boundingBox();
      const at = x + (await pixel());
      await page.mouse.move(at - 40, y + height / 2);
      await page.mouse.move(at, y + height / 2, { steps: 4 });
      expect(await words()).toContain(true);
      expect(await words()).not.toContain(false);
    }).toPass();
    await shot(page, "mark");
    await expect(status(page)).toHaveText(/running/i, { timeout: 30_000 });
    await page.getByTestId("export").locator("summary").click();
    for (const [name, kind] of [["CSV", /\.csv$/], ["JSON", /\.json$/]]) {
      const saved = page.waitForEvent("download");
      await page.getByTestId("export").getByRole("link", { name }).click();
      const file = await saved;
      expect(file.suggestedFilename()).toMatch(kind);
      const text = await readFile(await file.path(), "utf8");
      const rows = name === "JSON" ? JSON.parse(text) : text.trim().split("\n").slice(1);
      expect(rows.length).toBeGreaterThan(2);
    }
    const picture = page.waitForEvent("download");
    await page.getByTestId("export").getByRole("button", { name: "PNG" }).click();
    const bytes = await readFile(await (await picture).path());
    expect(bytes.subarray(1, 4).toString()).toBe("PNG");
    expect(bytes.length).toBeGreaterThan(10_000);
  });

  test("VMs are sorted, grouped, filtered, and stopped together", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const names = () => page.locator("[data-vm]").evaluateAll((rows) => rows.map((row) => row.dataset.vm));
    await page.getByRole("columnheader", { name: "VM" }).getByRole("link").click();
    await expect(page).toHaveURL("/?sort=name");
    expect(await names()).toEqual((await names()).toSorted());
    await page.getByRole("columnheader", { name: /^VM/ }).getByRole("link").click();
    await expect(page).toHaveURL("/?sort=name&order=down");
    await expect.poll(async () => (await names()).join()).toBe((await names()).toSorted().reverse().join());
    await page.getByLabel("Group").selectOption("status");
    await expect(page).toHaveURL(/group=status/);
    await expect(page).toHaveURL(/sort=name/);
    await expect(page).toHaveURL(/order=down/);
    await expect(page.locator("tr.group").first()).toContainText(/running \d/);

    const field = page.getByLabel("Filter by name, image, address or owner");
    const count = (await names()).length;
    await field.fill("zzz");
    await expect(page.locator("[data-vm]")).toHaveCount(0);
    await page.getByRole("link", { name: "Show all" }).click();
    await expect(field).toHaveValue("");
    await expect(page.locator("[data-vm]")).toHaveCount(count);
    await field.fill("zzz");
    await field.press("Enter");
    await expect(page).toHaveURL(/q=zzz/);
    await page.goBack();
    await expect(field).toHaveValue("");
    await expect(page.locator("[data-vm]")).toHaveCount(count);

    const [first, second] = await names();
    for (const name of [first, second]) await page.getByLabel(`Select ${name}`).check();
    await page.getByTestId("bulk-actions").getByRole("button", { name: "Stop" }).click();
    for (const name of [first, second]) await expect(row(page, name)).toHaveAttribute("data-status", "stopped", { timeout: 30_000 });
    await page.getByRole("link", { name: /^Stopped/ }).click();
    await expect.poll(names).toContain(first);
    for (const name of [first, second]) await page.getByLabel(`Select ${name}`).check();
    await page.getByTestId("bulk-actions").getByRole("button", { name: "Start" }).click();
    await expect(row(page, first)).toHaveCount(0, { timeout: 30_000 });
    await expect(row(page, second)).toHaveCount(0, { timeout: 30_000 });
  });

  test("on a phone, VMs are sorted without headings, and what a filter hides is no longer selected", async ({ page }) => {
    await page.setViewportSize({ width: 390, height: 900 });
    await page.goto("/");
    await hydrated(page);
    const names = () => page.locator("[data-vm]").evaluateAll((rows) => rows.map((row) => row.dataset.vm));
    await page.getByLabel("Sort").selectOption("By name");
    await expect(page).toHaveURL(/[?&]sort=name/);
    await expect.poll(async () => (await names()).join()).toBe((await names()).toSorted().join());
    await page.getByRole("link", { name: "Reverse order" }).click();
    await expect(page).toHaveURL(/sort=name&order=down/);
    await expect.poll(async () => (await names()).join()).toBe((await names()).toSorted().reverse().join());
    const [first, second] = await names();
    for (const name of [first, second]) await page.getByLabel(`Select ${name}`).check();
    await page.getByLabel("Filter by name, image, address or owner").fill(first);
    await expect(page.getByTestId("bulk-actions")).toContainText("1 selected");
    await page.getByLabel("Filter by name, image, address or owner").fill("");
    await expect(page.getByLabel(`Select ${first}`)).toBeChecked();
    await expect(page.getByLabel(`Select ${second}`)).not.toBeChecked();
  });

  test("a row's menu offers the VM's actions, by keyboard, over polls, and on a phone", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const name = await firstRunning(page);
    const vm = row(page, name);
    const opener = vm.getByRole("button", { name: `Actions for ${name}`, exact: true });
    const menu = vm.getByRole("group", { name: `Actions for ${name}`, exact: true });
    await expect(menu).toBeHidden();
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await opener.scrollIntoViewIfNeeded();
        await opener.click();
        await expect(menu).toBeInViewport({ ratio: 1 });
        await fits(page, "row-menu", `${colorScheme}-${width}`);
        await page.keyboard.press("Escape");
        await expect(menu).toBeHidden();
      }
    }
    await expect(opener).toBeFocused();
    await page.keyboard.press("Enter");
    const polled = () => page.waitForResponse(/\/api\/v1\/metrics_since/);
    await polled();
    await polled();
    await expect(menu.getByRole("link", { name: "Open" })).toBeVisible();
    await expect(menu.getByRole("button", { name: "Resume" })).toHaveCount(0);
    await menu.getByRole("button", { name: "Suspend" }).press("Enter");
    await expect(menu).toBeHidden();
    await expect(vm).toHaveAttribute("data-status", "suspended", { timeout: 30_000 });
    await opener.click();
    await menu.getByRole("button", { name: "Resume" }).click();
    await expect(vm).toHaveAttribute("data-status", "running", { timeout: 30_000 });
  });

  test("a row's menu works without JavaScript", async ({ browser, problems }) => {
    const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
    problems.allow(UNUSED_AHEAD);
    await signIn(context, server.url);
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/");
    const name = await firstRunning(page);
    const vm = row(page, name);
    await vm.getByRole("button", { name: `Actions for ${name}`, exact: true }).click();
    const requested = page.waitForRequest(/\/api\/v1\/restart_vm/);
    await vm.getByRole("button", { name: "Restart", exact: true }).click();
    expect((await requested).method()).toBe("POST");
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Overview");
    await context.close();
  });

  test("host usage by VM can be read as a table", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const usage = page.getByTestId("host-usage");
    await usage.locator("summary").first().click();
    const rows = usage.locator("details").first().getByRole("row");
    await expect(rows.nth(1)).toContainText("%");
    expect(await rows.count()).toBeGreaterThan(1);
  });

  test("the way back leads to where a page was left, and the focus goes with the pages", async ({ page }) => {
    await page.setViewportSize({ width: 1280, height: 500 });
    await page.goto("/");
    await hydrated(page);
    const last = page.locator("[data-vm]").last();
    await last.scrollIntoViewIfNeeded();
    // Rows have their own height once they are in sight.
    await expect(last.getByRole("link").first()).toBeInViewport();
    const before = await page.evaluate(() => scrollY);
    expect(before).toBeGreaterThan(100);
    await last.getByRole("link").first().click();
    await expect(status(page)).toBeVisible();
    await expect(page.locator("#content")).toBeFocused();
    await expect.poll(() => page.evaluate(() => scrollY)).toBe(0);
    // Nobody goes back within the frame in which they scroll.
    await page.evaluate(() => {
      scrollTo(0, 300);
      return new Promise((wake) => addEventListener("scroll", () => setTimeout(wake, 100), { once: true }));
    });
    await page.goBack();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Overview");
    const away = () => page.evaluate((before) => Math.abs(scrollY - before), before);
    await expect.poll(away).toBeLessThan(40);
    await page.goForward();
    await expect(status(page)).toBeVisible();
    await expect.poll(() => page.evaluate(() => Math.round(scrollY))).toBe(300);
  });

  test("a menu closes by a press beside it, and by Escape", async ({ page }) => {
    await openRunning(page);
    const menu = page.getByTestId("export");
    const isOpen = () => menu.evaluate((details) => details.open);
    await menu.locator("summary").click();
    expect(await isOpen()).toBe(true);
    await menu.getByRole("link", { name: "CSV" }).hover();
    await page.getByRole("heading", { level: 1 }).click();
    expect(await isOpen()).toBe(false);
    await menu.locator("summary").click();
    await page.keyboard.press("Escape");
    expect(await isOpen()).toBe(false);
    await expect(menu.locator("summary")).toBeFocused();
  });

  test("events appear by themselves, are filtered by the address and shown in detail", async ({ page }) => {
    const [{ id }] = await (await page.request.get("/api/vms")).json();
    const stopAfter = (hours) => page.request.post("/api/v1/stop_after", { form: { vm_id: id, hours }, headers: { origin: server.url } });
    await stopAfter("8");
    await page.goto("/events?category=vm");
    await hydrated(page);
    const list = page.getByTestId("event-list");
    const newest = list.getByRole("listitem").first();
    const before = await newest.textContent();
    await stopAfter("0");
    await expect(newest).not.toHaveText(before, { timeout: 3 * POLL_MS });
    await newest.locator("summary").click();
    await expect(newest).toContainText("Kind");
    await page.getByLabel("Severity", { exact: true }).selectOption("warning");
    await expect(page).toHaveURL(/severity=warning/);
    await expect(list.locator("[data-severity=info]")).toHaveCount(0);
    await page.getByRole("link", { name: "Clear" }).click();
    await expect(page).toHaveURL("/events");
    await page.getByLabel("Search the text").fill("account ada");
    await page.keyboard.press("Enter");
    await expect(list.getByRole("listitem")).toHaveCount(1);
    await page.getByRole("link", { name: "Clear" }).click();

    // A minute ago by the user's clock, and a minute in the future.
    const local = (minutes) => page.evaluate((minutes) => {
      const at = new Date(Date.now() + minutes * 60_000);
      return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    }, minutes);
    const count = Number(await page.getByTestId("count-all").locator("b").textContent());
    expect(count).toBeGreaterThan(0);
    const [past, future] = [await local(-600), await local(2)];
    await page.getByLabel("From").fill(future);
    await page.getByLabel("From").blur();
    await expect(list.getByRole("listitem")).toHaveCount(0);
    await expect(page).toHaveURL(/offset=\d+/);
    await page.getByLabel("From").fill(past);
    await page.getByLabel("From").blur();
    await expect(page.getByTestId("count-all").locator("b")).not.toHaveText("0");
    await expect(page.getByLabel("From")).toHaveValue(past);
    await page.reload();
    await hydrated(page);
    await expect(page.getByLabel("From")).toHaveValue(past);
    await page.getByLabel("To").fill(past);
    await page.getByLabel("To").blur();
    await expect(list.getByRole("listitem")).toHaveCount(0);
    await expect(page.getByRole("link", { name: "Clear" })).toBeVisible();
  });

  test("times are entered in the zone of who looks, in summer and in winter", async ({ browser, problems }) => {
    const context = await browser.newContext({ timezoneId: "America/New_York", baseURL: server.url });
    await signIn(context, server.url);
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/events");
    await hydrated(page);
    const file = page.getByTestId("export").getByText("CSV");
    for (const [local, utc] of [["2026-07-01T08:00", "2026-07-01T12:00:00Z"], ["2026-01-01T08:00", "2026-01-01T13:00:00Z"]]) {
      await page.getByLabel("From").fill(local);
      await page.getByLabel("From").blur();
      await expect(file).toHaveAttribute("href", new RegExp(`from=${encodeURIComponent(utc)}`));
      await expect(page.getByLabel("From")).toHaveValue(local);
      await page.reload();
      await hydrated(page);
      await expect(page.getByLabel("From")).toHaveValue(local);
    }
    await openRunning(page);
    await page.locator(".custom summary").click();
    await page.getByLabel("From").fill("2026-07-01T08:00");
    await page.getByLabel("To", { exact: true }).fill("2026-07-01T09:30");
    await page.locator(".custom").getByRole("button", { name: "Apply" }).click();
    await expect(page.getByTestId("custom-range")).toContainText("1 Jul, 08:00");
    await expect(page.getByTestId("custom-range").locator("time").last()).toHaveAttribute("datetime", "2026-07-01T13:30:00Z");
    await context.close();
  });

  test("charts have the page's colours when they come with another page", async ({ page }) => {
    await openRunning(page);
    await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
    await page.getByRole("link", { name: "Monitor" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Monitor" })).toBeVisible();
    const canvas = chart(page, "cpu").locator("canvas").first();
    const colours = () =>
      canvas.evaluate((canvas) => {
        const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
        return instance.getOption().series[0].lineStyle.color;
      });
    expect(await colours()).toMatch(/^#|rgb|oklch/);
    const table = page.getByTestId("chart-table");
    await table.locator("summary").click();
    await expect(table.getByRole("row").nth(1)).toContainText("%");
  });

  test("the monitor shows the host on six charts that go on", async ({ page }) => {
    await page.goto("/monitor?range=1h");
    await hydrated(page);
    for (const metric of ["cpu", "memory", "disk", "network", "swap", "load"]) {
      await expect(chart(page, metric).locator("canvas").first()).toBeVisible();
    }
    const { lastPointAt } = await inspect(chart(page, "cpu"));
    await appended(page, "cpu", lastPointAt);
    await expect(page.getByTestId("per-vm").getByRole("row")).not.toHaveCount(1);
  });

  test("any place is reached by keyboard, and the keys are listed", async ({ page }) => {
    await page.goto("/");
    await hydrated(page);
    const name = await firstRunning(page);
    await page.keyboard.press("Control+k");
    const palette = page.getByTestId("palette");
    await expect(palette.getByRole("combobox")).toBeFocused();
    await page.keyboard.type(name);
    await expect(palette.getByRole("option").first()).toContainText(name);
    await page.keyboard.press("Enter");
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
    await expect(palette).toBeHidden();
    await page.keyboard.press("g");
    await page.keyboard.press("e");
    await expect(page).toHaveURL("/events");
    await expect(page.getByLabel("Search the text")).toBeVisible();
    await page.keyboard.press("?");
    await expect(page.getByTestId("keys")).toBeVisible();
    await expect(page.getByTestId("keys")).toContainText("Go to a page or VM, or run an action");
    await page.keyboard.press("Escape");
    await expect(page.getByTestId("keys")).toBeHidden();
    await page.keyboard.press("/");
    await expect(page.getByLabel("Search the text")).toBeFocused();
  });

  test("what can be done with a VM, with the theme and with one's session is done from the palette", async ({ page, problems }) => {
    problems.allow(/status of 400 .*save_snapshot/);
    await page.goto("/monitor");
    await hydrated(page);
    const name = await page.request.get("/api/v1/list_vms").then((reply) => reply.json())
      .then((vms) => vms.find((vm) => vm.status === "running").name);
    const palette = page.getByTestId("palette");
    const choose = async (what) => {
      await page.keyboard.press("Control+k");
      await expect(palette.getByRole("combobox")).toBeFocused();
      await page.keyboard.type(what);
      await expect(palette.getByRole("option", { selected: true })).toContainText(what);
      await page.keyboard.press("Enter");
    };
    await choose(`Save a snapshot of ${name}`);
    await expect(palette.getByLabel("Snapshot name")).toBeFocused();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await fits(page, "palette-question", colorScheme);
    }
    await page.keyboard.type("-wrong-");
    await page.keyboard.press("Enter");
    await expect(palette.getByRole("alert")).toContainText("The snapshot name must have");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("from-palette");
    await page.keyboard.press("Enter");
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
    await expect(page.getByTestId("snapshots").locator(".what b", { hasText: "from-palette" })).toBeVisible();

    // The focus may leave it, which closes it.
    await choose(`Destroy ${name}`);
    await expect(palette.getByRole("status")).toContainText("This cannot be undone.");
    for (let presses = 0; presses < 3; presses++) await page.keyboard.press("Tab");
    await expect(palette).toBeHidden();

    await choose(`Suspend ${name}`);
    await expect(status(page)).toHaveText("suspended", { timeout: 30_000 });
    await choose(`Resume ${name}`);
    await expect(status(page)).toHaveText("running", { timeout: 30_000 });
    for (const what of [`Destroy ${name}`, `Power off ${name}`]) {
      await choose(what);
      await page.keyboard.type("another");
      await page.keyboard.press("Enter");
      await expect(palette.locator(".btn.danger")).toBeDisabled();
      await palette.getByRole("button", { name: "Back" }).click();
      await expect(palette.getByRole("combobox")).toBeFocused();
      await page.keyboard.press("Escape");
      await expect(palette).toBeHidden();
    }
    await choose(`Power off ${name}`);
    await page.keyboard.type(name);
    await page.keyboard.press("Enter");
    await expect(status(page)).toHaveText("stopped", { timeout: 30_000 });
    await choose(`Start ${name}`);
    await expect(status(page)).toHaveText("running", { timeout: 30_000 });

    await choose("Dark theme");
    await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
    await choose("System theme");
    await expect(page.locator("html")).not.toHaveAttribute("data-theme");
    await choose("Sign out");
    await expect(page).toHaveURL(/sign-in/);
  });

  test("a rule of one's own is made, changed and deleted", async ({ page, problems }) => {
    problems.allow(/status of 400 .*save_alert_rule/);
    await page.goto("/alerts/rules");
    await hydrated(page);
    const form = page.getByTestId("rule-form");
    const own = page.locator("[data-rule] .what", { hasText: "All VMs of ada: Network down at 5 MB/s or less for 30 s" });
    await expect(form.getByLabel("in the time zone")).not.toHaveValue("");
    await form.getByLabel("When", { exact: true }).selectOption("network_down");
    await form.getByLabel("Threshold").fill("100001");
    await form.getByLabel("is", { exact: true }).selectOption("below");
    await form.getByLabel("for", { exact: true }).fill("30");
    await form.getByRole("button", { name: "Create rule" }).click();
    await expect(form.locator("[data-field=threshold]")).toHaveText("Enter a number from 0 to 100000, with at most two decimals.");
    await expect(form.getByLabel("Threshold")).toHaveAttribute("aria-invalid", "true");
    await form.getByLabel("Threshold").fill("5");
    await form.getByRole("button", { name: "Create rule" }).click();
    await expect(own).toBeVisible();

    const entry = page.locator("[data-rule]", { has: page.getByText("All VMs of ada") });
    await entry.getByRole("link", { name: "Edit" }).click();
    await form.getByLabel("No notifications from").fill("22:00");
    await form.getByLabel("until").fill("07:00");
    await form.getByLabel("Enabled").uncheck();
    await form.getByRole("button", { name: "Save rule" }).click();
    await expect(entry).toContainText("quiet from 22:00 to 07:00 in");
    await expect(entry.locator(".badge")).toHaveText("disabled");
    await expect(page).toHaveURL("/alerts/rules");
    await confirm(entry, "Delete…", "network down");
    await entry.getByRole("button", { name: "Delete rule" }).click();
    await expect(entry).toHaveCount(0);
  });

  test("alerts are sent to a webhook, which is tried out", async ({ page }) => {
    const receiver = createServer((request, response) => {
      received.push(request.headers["webhook-signature"]);
      response.end();
    });
    const received = [];
    receiver.listen(0, "127.0.0.1");
    await once(receiver, "listening");
    try {
      await page.goto("/account");
      await hydrated(page);
      const panel = page.getByTestId("notifications");
      await panel.getByLabel("Webhook").fill(`http://127.0.0.1:${receiver.address().port}/hook`);
      await panel.getByRole("button", { name: "Save" }).click();
      await panel.getByText("Signing secret").click();
      await expect(panel.getByTestId("secret")).toHaveText(/^whsec_/);
      await panel.getByRole("button", { name: "Send test" }).click();
      await expect(panel.getByTestId("deliveries")).toContainText("webhook · sent", { timeout: 20_000 });
      expect(received).toEqual([expect.stringMatching(/^v1,/)]);
    } finally {
      receiver.close();
    }
  });

  test("a theme is chosen once and is there on the next page without a flash", async ({ page }) => {
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto("/account");
    await hydrated(page);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    const kept = page.waitForResponse(/set_theme/);
    await page.getByTestId("theme").getByRole("button", { name: "Dark" }).click();
    await expect.poll(ground).not.toBe(light);
    await kept;
    await page.goto("/", { waitUntil: "commit" });
    await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
    await page.goto("/account");
    await hydrated(page);
    const back = page.waitForResponse(/set_theme/);
    await page.getByTestId("theme").getByRole("button", { name: "System" }).click();
    await back;
    await expect.poll(ground).toBe(light);
  });

  test("an admin makes an account, books credits and shuts it out; a device is signed out", async ({ page, browser }) => {
    await page.goto("/admin/accounts");
    await hydrated(page);
    const make = page.getByTestId("create-account");
    for (const [name, value] of Object.entries({ username: "bob", email: "bob@example.org", password: USER.password })) {
      await make.locator(`[name=${name}]`).fill(value);
    }
    await make.getByRole("button").click();
    const bob = page.locator("[data-account=bob]");
    await expect(bob.getByTestId("credits")).toHaveText("100 credits");
    await bob.locator("summary").click();
    await bob.locator("[name=amount]").fill("50");
    await bob.locator("[name=reason]").fill("for the course");
    await bob.getByRole("button", { name: "Apply" }).click();
    await expect(bob.getByTestId("credits")).toHaveText("150 credits");

    const context = await browser.newContext({ baseURL: server.url });
    const other = await context.newPage();
    await enter(other, "/sign-in", { username: "bob", password: USER.password });
    await confirm(bob, "Deactivate…", "bob");
    await bob.getByRole("button", { name: "Deactivate", exact: true }).click();
    await expect(bob).toContainText("deactivated");
    await other.goto("/");
    await expect(other).toHaveURL("/sign-in");
    await context.close();

    await page.goto("/account");
    await hydrated(page);
    const devices = page.getByTestId("devices").getByRole("listitem");
    const count = await devices.count();
    await page.getByTestId("devices").getByRole("button", { name: "Sign out", exact: true }).first().click();
    await expect(devices).toHaveCount(count - 1);
  });

  test("a VM is operated without JavaScript", async ({ browser, problems }) => {
    const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
    problems.allow(UNUSED_AHEAD);
    await signIn(context, server.url);
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/");
    await row(page, "all-of-it").getByRole("link").first().click();
    await openTab(page, "Settings");
    await page.getByTestId("resources").getByLabel("Memory").fill("100000");
    await page.getByRole("button", { name: "Apply at next start" }).click();
    await expect(page).toHaveURL(/\/vms\/\d+\/settings\?/);
    await expect(page.getByTestId("resources").getByTestId("error")).toContainText("Memory must be");
    await page.getByTestId("resources").getByLabel("Memory").fill("512");
    await page.getByRole("button", { name: "Apply at next start" }).click();
    await expect(page.getByTestId("next-spec")).toContainText("512 MB");
    await page.getByRole("switch", { name: "Start with the server" }).click();
    await expect(page).toHaveURL(/\/vms\/\d+\/settings/);
    await expect(page.getByRole("switch", { name: "Start with the server" })).not.toBeChecked();
    await context.close();
  });

  test("each tab of a VM's page is there without JavaScript, and old addresses lead to theirs", async ({ browser, problems }) => {
    const context = await browser.newContext({ javaScriptEnabled: false, baseURL: server.url });
    problems.allow(UNUSED_AHEAD);
    problems.allow(/status of 404/);
    await signIn(context, server.url);
    const page = await context.newPage();
    problems.watch(page);
    await page.goto("/");
    await row(page, "all-of-it").getByRole("link").first().click();
    const address = new URL(page.url()).pathname;
    const shown = { Overview: "chart-cpu", Snapshots: "snapshots", Activity: "operations", Settings: "schedule" };
    for (const tab of TABS) {
      await openTab(page, tab);
      await expect(page.getByRole("heading", { level: 1 })).toHaveText("all-of-it");
      for (const [other, content] of Object.entries(shown)) await expect(page.getByTestId(content)).toHaveCount(other === tab ? 1 : 0);
    }
    await openTab(page, "Activity");
    await expect(page.getByTestId("output")).toHaveCount(1);
    const launch = page.getByTestId("operations").getByRole("listitem").last();
    await launch.getByRole("link").click();
    await expect(launch.getByTestId("output")).toContainText("Machine booted and ready!");
    const operation = new URL(page.url()).search;
    await page.goto(`${address}${operation}#earlier`);
    await expect(page).toHaveURL(`${address}/activity${operation}#earlier`);
    await expect(launch.getByTestId("output")).toContainText("Machine booted and ready!");
    await page.goto(`${address}?output=whole`);
    await expect(page).toHaveURL(`${address}/activity`);
    await page.goto(`${address}?range=1h`);
    await expect(page.getByTestId("ranges").getByRole("link", { name: "1 h", exact: true })).toHaveAttribute("aria-current", "true");
    await page.goto(`${address}#destroy`);
    await expect(page.getByRole("dialog")).toBeVisible();
    expect((await page.goto(`${address}/nonsense`)).status()).toBe(404);
    await page.getByRole("link", { name: "Go to the VM" }).click();
    await expect(page).toHaveURL(address);
    await context.close();
  });

  test("the tabs of a VM's page are changed by keyboard, and only request what they show", async ({ page }) => {
    await openRunning(page);
    const address = new URL(page.url()).pathname;
    const calls = countCalls(page);
    const requested = (endpoint) => calls.filter((url) => url.includes(`/api/v1/${endpoint}?`)).length;
    await page.evaluate(() => (globalThis.marked = true));
    const tabs = page.getByRole("navigation", { name: "VM sections" });
    await tabs.getByRole("link", { name: "Overview" }).focus();
    for (const [tab, content] of [["Snapshots", "snapshots"], ["Activity", "operations"], ["Settings", "vagrantfile"]]) {
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await expect(page).toHaveURL(`${address}/${tab.toLowerCase()}`);
      await expect(page).toHaveTitle(new RegExp(`^${tab} · `));
      // Nothing may have been requested of this VM yet.
      await expect(page.getByTestId(content).or(page.getByText("No operations yet."))).toBeVisible();
      await expect(tabs.getByRole("link", { name: tab })).toBeFocused();
      await expect(tabs.locator("[aria-current=page]")).toHaveText(tab);
    }
    // The operations a second time to find out which is the newest, for its output.
    expect(["vm_snapshots", "vm_operations", "vm_vagrantfiles", "vm_charts"].map(requested)).toEqual([1, 2, 1, 0]);
    expect(calls.filter((url) => url.includes("metrics_since") && !url.includes("cursor=")), "it is the same poll").toEqual([]);
    await page.goBack();
    await page.goBack();
    await page.goBack();
    await expect(page).toHaveURL(address);
    await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
    expect(await page.evaluate(() => globalThis.marked), "no page was loaded").toBe(true);
  });

  test("on a phone, a VM's actions and tabs stay in reach, and nothing lies under the navigation", async ({ page }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await openRunning(page);
    const bar = page.getByRole("navigation", { name: "Main" });
    for (const tab of TABS) {
      await openTab(page, tab);
      await page.waitForLoadState("networkidle");
      await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
      await expect(page.getByRole("button", { name: "Stop", exact: true })).toBeInViewport({ ratio: 1 });
      await expect(page.getByRole("navigation", { name: "VM sections" })).toBeInViewport({ ratio: 1 });
      const [end, top] = await Promise.all([
        page.locator(".tab > :last-child").evaluate((last) => last.getBoundingClientRect().bottom),
        bar.evaluate((bar) => bar.getBoundingClientRect().top),
      ]);
      expect(end, tab).toBeLessThanOrEqual(top);
    }
  });

  test("a section that cannot be loaded says so, and is loaded again", async ({ page, problems }) => {
    problems.allow(/ERR_FAILED/);
    await page.goto("/");
    await hydrated(page);
    await page.route("**/api/v1/orphans*", (route) => route.abort());
    await page.getByRole("navigation").getByRole("link", { name: "Admin" }).click();
    const orphans = page.getByTestId("orphans");
    const again = orphans.getByRole("button", { name: "Try again" });
    await expect(again).toBeVisible();
    await page.unroute("**/api/v1/orphans*");
    await again.click();
    await expect(again).toHaveCount(0);
    await expect(orphans.locator(".entries")).toBeAttached();
  });

  test("a VM's page works before its code is loaded, and keeps what was typed", async ({ page }) => {
    await page.goto("/");
    const address = await row(page, await firstRunning(page)).getByRole("link").first().getAttribute("href");
    let letGo;
    const held = new Promise((wake) => (letGo = wake));
    const code = /\/pkg\/[0-9a-f]{16}\/(split|chunk)_[^/]*\.wasm$/;
    await page.route(code, async (route) => {
      await held;
      await route.continue();
    });
    const requested = page.waitForRequest(code);
    await page.goto(`${address}/snapshots`);
    await requested;
    const snapshots = page.getByTestId("snapshots");
    const name = snapshots.getByLabel("Name");
    await name.fill("early");
    await name.blur();
    letGo();
    await hydrated(page);
    await expect(name).toHaveValue("early");
    await snapshots.getByRole("button", { name: "Save snapshot" }).click();
    await expect(snapshots.locator(".entries")).toContainText("early", { timeout: 30_000 });
  });

  test("loaded content has the place of its skeleton", async ({ page }) => {
    for (const [path, name, api] of [["/vms/new", "Launch", "images"], ["/admin", "Admin", "store_health"], ["/alerts", "Alerts", "alert_history"]]) {
      await page.goto("/account");
      await hydrated(page);
      await page.evaluate(() => {
        globalThis.shifted = 0;
        const add = (list) => list.getEntries().forEach((shift) => (globalThis.shifted += shift.hadRecentInput ? 0 : shift.value));
        new PerformanceObserver(add).observe({ type: "layout-shift" });
      });
      // Later than what counts as an answer to the click.
      await page.route(`**/api/v1/${api}*`, async (route) => {
        await new Promise((wake) => setTimeout(wake, 800));
        await route.continue();
      });
      // Open alerts are counted beside the word.
      await page.getByRole("navigation").getByRole("link", { name: new RegExp(`^${name}( \\d+ open)?$`) }).click();
      await expect(page.getByRole("status", { name: "Loading" }).first()).toBeVisible();
      await expect(page).toHaveURL(path);
      await expect(page.getByRole("status", { name: "Loading" })).toHaveCount(0);
      await page.waitForLoadState("networkidle");
      expect(await page.evaluate(() => globalThis.shifted), path).toBeLessThan(0.1);
      await page.unrouteAll();
    }
  });

  test("every token of the visual language is shown", async ({ page }) => {
    const css = await readFile(join(ROOT, "style/tokens.css"), "utf8");
    const names = [...css.matchAll(/^ *(--[a-z0-9-]+):|; (--[a-z0-9-]+):/gm)].map((found) => found[1] ?? found[2]);
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.goto("/style");
        await hydrated(page);
        await fits(page, "style", `${colorScheme}-${width}`);
      }
    }
    for (const name of names) await expect(page.locator(`[data-token="${name}"]`), name).not.toHaveCount(0);
    const fill = (ground) => page.locator(`.${ground} [data-token="--bg"] rect`).evaluate((rect) => getComputedStyle(rect).fill);
    expect(await fill("light")).not.toBe(await fill("dark"));
    await page.getByRole("button", { name: "A toast of trouble" }).click();
    await expect(page.getByTestId("toasts")).toContainText("start failed");
  });

  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      test(`pages fit a ${colorScheme} screen of ${width} pixels`, async ({ page }) => {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.goto("/");
        const vm = new URL(await row(page, await firstRunning(page)).getByRole("link").first().getAttribute("href"), server.url);
        for (const [name, path] of Object.entries({ overview: "/", vm: vm.pathname, "vm-snapshots": `${vm.pathname}/snapshots`, "vm-activity": `${vm.pathname}/activity`, "vm-settings": `${vm.pathname}/settings`, launch: "/vms/new", adopt: "/vms/adopt", monitor: "/monitor", alerts: "/alerts", rules: "/alerts/rules", events: "/events", account: "/account", accounts: "/admin/accounts", admin: "/admin" })) {
          await page.goto(path);
          await hydrated(page);
          await fits(page, name, `${colorScheme}-${width}`);
        }
      });
    }
  }
});

test("pages for who is not signed in fit, too", async ({ page, problems }) => {
  problems.allow(/status of 404/);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      for (const name of ["sign-in", "register", "nowhere"]) {
        await page.goto(`/${name}`);
        await hydrated(page);
        await fits(page, name, `${colorScheme}-${width}`);
      }
    }
  }
});

/** Takes the page's picture; it must not scroll sideways, nor keep anybody from using it. */
async function fits(page, name, looks) {
  await shot(page, `${name}-${looks}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow, `${name} scrolls sideways`).toBeLessThanOrEqual(0);
  expect(await violations(page), `${name} is accessible`).toEqual([]);
}

/** The seconds that a chart's time axis spans. */
function timeAxis(canvas) {
  return canvas.evaluate((canvas) => {
    const [axis] = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]")).getOption().xAxis;
    return (axis.max - axis.min) / 1000;
  });
}

/** The name of a VM in the overview that runs. */
function firstRunning(page) {
  return page.locator("[data-vm]").filter({ hasText: /running/i }).first().getAttribute("data-vm");
}

async function openRunning(page) {
  await page.goto("/");
  await hydrated(page);
  await row(page, await firstRunning(page)).getByRole("link").first().click();
  await expect(status(page)).toHaveText(/running/i);
  await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
}

async function appended(page, metric, after) {
  await expect.poll(async () => (await inspect(chart(page, metric))).lastPointAt, { timeout: 3 * POLL_MS })
    .toBeGreaterThan(after);
}
