// The overview: its values, its table of VMs and what is done with them there.

import { expect, firstRunning, fits, hydrated, inEachLook, row, status, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "overview" });

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
  await inEachLook(page, async (look) => {
    await opener.scrollIntoViewIfNeeded();
    await opener.click();
    await expect(menu).toBeInViewport({ ratio: 1 });
    await fits(page, "row-menu", look);
    await page.keyboard.press("Escape");
    await expect(menu).toBeHidden();
  });
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

test("host usage by VM can be read as a table", async ({ page }) => {
  await page.goto("/");
  await hydrated(page);
  const usage = page.getByTestId("host-usage");
  await usage.locator("summary").first().click();
  const rows = usage.locator("details").first().getByRole("row");
  await expect(rows.nth(1)).toContainText("%");
  expect(await rows.count()).toBeGreaterThan(1);
});

test("the outcome of an operation is shown in a live region, and leaves by itself or by keyboard", async ({ page }) => {
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
  await inEachLook(page, (look) => fits(page, "toast", look));
  await page.waitForTimeout(6_500); // it stays while somebody is in it, which cannot be awaited otherwise
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
