// The page of a VM: its tabs, on a phone, and before its code is there.

import { becomes, chart, countCalls, expect, followRunning, hydrated, openRunning, openTab, runningVm, TABS, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "vm-page" });

test("the tabs of a VM's page are changed by keyboard, and load only what they show", async ({ page, api }) => {
  // One with an operation and a Vagrantfile.
  const { id } = await runningVm(api);
  await api.post("restart_vm", { vm_id: id });
  await becomes(api, id, "running");
  await followRunning(page);
  const address = new URL(page.url()).pathname;
  const calls = countCalls(page);
  const asked = (endpoint) => calls.filter((url) => url.includes(`/api/v1/${endpoint}?`)).length;
  await page.evaluate(() => (globalThis.marked = true));
  const tabs = page.getByRole("navigation", { name: "VM sections" });
  await tabs.getByRole("link", { name: "Overview" }).focus();
  for (const [tab, content] of [["Snapshots", "snapshots"], ["Activity", "operations"], ["Settings", "vagrantfile"]]) {
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(`${address}/${tab.toLowerCase()}`);
    await expect(page).toHaveTitle(new RegExp(`^${tab} · `));
    await expect(page.getByTestId(content)).toBeVisible();
    await expect(tabs.getByRole("link", { name: tab })).toBeFocused();
    await expect(tabs.locator("[aria-current=page]")).toHaveText(tab);
  }
  // The operations a second time to find out which is the newest, for its output.
  expect(["vm_snapshots", "vm_operations", "vm_vagrantfiles", "vm_charts"].map(asked)).toEqual([1, 2, 1, 0]);
  expect(calls.filter((url) => url.includes("metrics_since") && !url.includes("cursor=")), "it is the same poll").toEqual([]);
  await page.goBack();
  await page.goBack();
  await page.goBack();
  await expect(page).toHaveURL(address);
  await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
  expect(await page.evaluate(() => globalThis.marked), "no page was loaded").toBe(true);
});

test("on a phone, a VM's actions and tabs stay in reach, and nothing lies under the navigation", async ({ page, api }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openRunning(page, api);
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

test("a VM's page works before its code is loaded, and keeps what was typed", async ({ page, api }) => {
  const { id } = await runningVm(api);
  let letGo;
  const held = new Promise((wake) => (letGo = wake));
  const code = /\/pkg\/[0-9a-f]{16}\/[^/]*\.bin$/;
  await page.route(code, async (route) => {
    await held;
    await route.continue();
  });
  const asked = page.waitForRequest(code);
  await page.goto(`/vms/${id}/snapshots`);
  await asked;
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
