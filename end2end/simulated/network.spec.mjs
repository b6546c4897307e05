// What a page does while it is hidden, without a connection, and while it waits for what it needs.

import { appended, chart, countCalls, expect, hydrated, inspect, openRunning, POLL_MS, setVisibility, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "network" });

test("a hidden tab requests nothing, and catches up when it is visible again", async ({ page, api }) => {
  await openRunning(page, api);
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

test("a lost connection is reported until it is back", async ({ page, context, api, problems }) => {
  problems.allow(/ERR_INTERNET_DISCONNECTED|ERR_FAILED|Failed to fetch/);
  await openRunning(page, api);
  await context.setOffline(true);
  await expect(page.getByText(/reconnecting/i)).toBeVisible({ timeout: 4 * POLL_MS });
  const { lastPointAt, id } = await inspect(chart(page, "cpu"));
  await context.setOffline(false);
  await expect(page.getByText(/reconnecting/i)).toBeHidden({ timeout: 8 * POLL_MS });
  await appended(page, "cpu", lastPointAt);
  expect((await inspect(chart(page, "cpu"))).id).toBe(id);
});

test("a part of a page that cannot be loaded says so, and loads at the next try", async ({ page, problems }) => {
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

for (const [path, name, endpoint] of [["/vms/new", "Launch", "images"], ["/admin", "Admin", "store_health"], ["/alerts", "Alerts", "alert_history"]]) {
  test(`the page ${name} is loaded into the place of its skeleton`, async ({ page }) => {
    await page.goto("/account");
    await hydrated(page);
    await page.evaluate(() => {
      globalThis.shifted = 0;
      const add = (list) => list.getEntries().forEach((shift) => (globalThis.shifted += shift.hadRecentInput ? 0 : shift.value));
      new PerformanceObserver(add).observe({ type: "layout-shift" });
    });
    // Later than what counts as an answer to the click.
    await page.route(`**/api/v1/${endpoint}*`, async (route) => {
      await new Promise((wake) => setTimeout(wake, 800));
      await route.continue();
    });
    // Open alerts are counted beside the word.
    await page.getByRole("navigation").getByRole("link", { name: new RegExp(`^${name}( \\d+ open)?$`) }).click();
    await expect(page.getByRole("status", { name: "Loading" }).first()).toBeVisible();
    await expect(page).toHaveURL(path);
    await expect(page.getByRole("status", { name: "Loading" })).toHaveCount(0);
    await page.waitForLoadState("networkidle");
    expect(await page.evaluate(() => globalThis.shifted)).toBeLessThan(0.1);
  });
}
