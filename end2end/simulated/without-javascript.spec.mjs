// What works without JavaScript. The first start and signing in have tests of their own.

import { becomes, confirm, destroy, enter, expect, firstRunning, launch, openTab, USER, row, saveRule, shot, status, TABS, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const VMS = 5;

const test = withFleet({ name: "without-javascript", vms: VMS });

test.use({ javaScriptEnabled: false });

test.beforeEach(({ problems }) => problems.allow(UNUSED_AHEAD));

test("metrics are there without JavaScript", async ({ page, context }) => {
  await context.clearCookies();
  const { username, password } = USER;
  await enter(page, "/sign-in", { username, password });
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(page.locator("[data-vm]").filter({ hasText: /\d\s?%/ }).first()).toBeVisible();
  await row(page, await firstRunning(page)).getByRole("link").first().click();
  await expect(status(page)).toHaveText(/running/i);
  await expect(page.locator("main")).toContainText(/\d\s?%/);
});

test("open alerts are listed without JavaScript", async ({ page }) => {
  await page.goto("/");
  const list = page.getByTestId("alert-list");
  await expect(list).toBeHidden();
  await page.getByRole("button", { name: /open alert/i }).click();
  await expect(list).toBeVisible();
});

test("a launch that is rejected without JavaScript comes back as it was filled in", async ({ page }) => {
  await page.goto("/");
  const taken = await firstRunning(page);
  await page.goto("/vms/new");
  await page.locator("[name=name]").fill(taken);
  await page.locator("[name=ram_mb]").fill("2048");
  await page.getByRole("button", { name: /launch/i }).click();
  await expect(page.getByTestId("error")).toContainText(`You already have a VM called ${taken}.`);
  await expect(page.locator("[name=name]")).toHaveValue(taken);
  await expect(page.locator("[name=ram_mb]")).toHaveValue("2048");
});

test("deleting a rule asks for its name without JavaScript", async ({ page, api }) => {
  await saveRule(api, { scope: "owner:1", metric: "swap", threshold: 77, for_secs: 60, severity: "info" });
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
});

test("a row's menu works without JavaScript", async ({ page }) => {
  await page.goto("/");
  const name = await firstRunning(page);
  const vm = row(page, name);
  await vm.getByRole("button", { name: `Actions for ${name}`, exact: true }).click();
  const asked = page.waitForRequest(/\/api\/v1\/restart_vm/);
  await vm.getByRole("button", { name: "Restart", exact: true }).click();
  expect((await asked).method()).toBe("POST");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Overview");
});

test("a VM is operated without JavaScript", async ({ page, api }) => {
  const id = await launch(api, "plain");
  await api.post("set_auto_start", { vm_id: id, auto_start: true });
  await page.goto("/");
  await row(page, "plain").getByRole("link").first().click();
  await openTab(page, "Settings");
  await page.getByTestId("resources").getByLabel("Memory").fill("100000");
  await page.getByRole("button", { name: "Apply at next start" }).click();
  await expect(page).toHaveURL(/\/vms\/\d+\/settings\?/);
  await expect(page.getByTestId("resources").getByTestId("error")).toContainText("Memory must be");
  await page.getByTestId("resources").getByLabel("Memory").fill("512");
  await page.getByRole("button", { name: "Apply at next start" }).click();
  await expect(page.getByTestId("next-spec")).toContainText("512 MB");
  await expect(page.getByRole("switch", { name: "Start with the server" })).toBeChecked();
  await page.getByRole("switch", { name: "Start with the server" }).click();
  await expect(page).toHaveURL(/\/vms\/\d+\/settings/);
  await expect(page.getByRole("switch", { name: "Start with the server" })).not.toBeChecked();
  await destroy(api, "plain");
});

test("each tab of a VM's page is there without JavaScript, and old addresses lead to theirs", async ({ page, api, problems }) => {
  problems.allow(/status of 404/);
  const id = await launch(api, "tabs");
  await api.post("force_stop_vm", { vm_id: id });
  await becomes(api, id, "stopped");
  await page.goto("/");
  await row(page, "tabs").getByRole("link").first().click();
  const address = new URL(page.url()).pathname;
  const shown = { Overview: "chart-cpu", Snapshots: "snapshots", Activity: "operations", Settings: "schedule" };
  for (const tab of TABS) {
    await openTab(page, tab);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("tabs");
    for (const [other, content] of Object.entries(shown)) await expect(page.getByTestId(content)).toHaveCount(other === tab ? 1 : 0);
  }
  await openTab(page, "Activity");
  await expect(page.getByTestId("output")).toHaveCount(1);
  const launched = page.getByTestId("operations").getByRole("listitem").last();
  await launched.getByRole("link").click();
  await expect(launched.getByTestId("output")).toContainText("Machine booted and ready!");
  const operation = new URL(page.url()).search;
  await page.goto(`${address}${operation}#earlier`);
  await expect(page).toHaveURL(`${address}/activity${operation}#earlier`);
  await expect(launched.getByTestId("output")).toContainText("Machine booted and ready!");
  await page.goto(`${address}?output=whole`);
  await expect(page).toHaveURL(`${address}/activity`);
  await page.goto(`${address}?range=1h`);
  await expect(page.getByTestId("ranges").getByRole("link", { name: "1 h", exact: true })).toHaveAttribute("aria-current", "true");
  await page.goto(`${address}#destroy`);
  await expect(page.getByRole("dialog")).toBeVisible();
  expect((await page.goto(`${address}/nonsense`)).status()).toBe(404);
  await page.getByRole("link", { name: "Go to the VM" }).click();
  await expect(page).toHaveURL(address);
  await destroy(api, "tabs");
});
