// What only an admin sees: everybody's VMs, and how the collector and the store are doing.

import { expect, firstRunning, hydrated, USER, POLL_MS, row, withFleet } from "../fixtures.mjs";

const VMS = 5;

const test = withFleet({ name: "admin", vms: VMS });

test("an admin sees the collector's health, and its ticks go on", async ({ page }) => {
  await page.goto("/monitor");
  await hydrated(page);
  await expect(page.getByTestId("collector-state")).toHaveText("working");
  await expect(page.getByTestId("collector-sources")).toHaveText(/^\d+ simulated/);
  const ticks = async () => Number(await page.getByTestId("collector-ticks").textContent());
  const before = await ticks();
  await expect.poll(ticks, { timeout: 3 * POLL_MS }).toBeGreaterThan(before);
});

test("an admin finds any VM with its owner, and sees the store's health", async ({ page }) => {
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
