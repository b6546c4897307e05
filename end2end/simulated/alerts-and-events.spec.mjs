// Alerts, the rules that open them, and the log of events.

import { confirm, expect, hydrated, openRunning, POLL_MS, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "alerts-and-events" });

test("the bell lists the open alerts, and its list closes with Escape", async ({ page, api }) => {
  await page.goto("/");
  await hydrated(page);
  const bell = page.getByTestId("alert-bell");
  const list = page.getByTestId("alert-list");
  await bell.click();
  await expect(list).toBeVisible();
  await expect(list).toBeInViewport({ ratio: 1 });
  // One may come or go between two looks.
  await expect(async () => {
    const alerts = await api.get("open_alerts");
    expect(await list.getByRole("listitem").count()).toBe(alerts.length);
  }).toPass();
  await page.keyboard.press("Escape");
  await expect(list).toBeHidden();
  await expect(bell).toBeFocused();
  // The rail counts them on every page.
  await page.goto("/account");
  await hydrated(page);
  const entry = page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /^Alerts/ });
  const shown = async () => Number((await entry.locator(".count").allTextContents()).map((text) => text.match(/\d+/)[0])[0] ?? 0);
  await expect(async () => {
    await page.reload();
    expect(await shown()).toBe(await api.get("open_alert_count"));
  }).toPass();
});

test("a user's own rule is created, changed and deleted", async ({ page, problems }) => {
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

test("new events appear by themselves, are filtered in the address and shown in detail", async ({ page, api }) => {
  const [{ id }] = await api.get("list_vms");
  const stopAfter = (hours) => api.post("stop_after", { vm_id: id, hours });
  await stopAfter(8);
  await page.goto("/events?category=vm");
  await hydrated(page);
  const list = page.getByTestId("event-list");
  const newest = list.getByRole("listitem").first();
  const before = await newest.textContent();
  await stopAfter(0);
  await expect(newest).not.toHaveText(before, { timeout: 3 * POLL_MS });
  await newest.locator("summary").click();
  await expect(newest).toContainText("Kind");
  await expect(newest).toContainText("127.0.0.1");
  await expect(newest).toContainText(/Request[0-9a-f]{16}/);
  await page.getByLabel("Severity", { exact: true }).selectOption("warning");
  await expect(page).toHaveURL(/severity=warning/);
  await expect(list.locator("[data-severity=info]")).toHaveCount(0);
  await page.getByRole("link", { name: "Clear" }).click();
  await expect(page).toHaveURL("/events");
  await page.getByLabel("Search the text").fill("account ada");
  await page.keyboard.press("Enter");
  await expect(list.getByRole("listitem")).toHaveCount(1);
  await page.getByRole("link", { name: "Clear" }).click();

  // A minute ago by the clock of whoever looks, and a minute that is still to come.
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
  await page.getByLabel("To", { exact: true }).fill(past);
  await page.getByLabel("To", { exact: true }).blur();
  await expect(list.getByRole("listitem")).toHaveCount(0);
  await expect(page.getByRole("link", { name: "Clear" })).toBeVisible();
});

// Times near a clock change: shown as they were entered. The last is where it is shown instead, where the time is skipped.
for (const [timezoneId, local, utc, shown = local] of [
  ["America/New_York", "2027-03-14T05:00", "2027-03-14T09:00:00Z"],
  ["America/New_York", "2027-11-07T03:00", "2027-11-07T08:00:00Z"],
  ["America/New_York", "2027-03-14T02:30", "2027-03-14T07:30:00Z", "2027-03-14T03:30"],
  ["Europe/Berlin", "2027-10-31T01:30", "2027-10-30T23:30:00Z"],
  ["Europe/Berlin", "2027-10-31T02:30", "2027-10-31T00:30:00Z"],
  ["Australia/Sydney", "2027-10-02T20:00", "2027-10-02T10:00:00Z"],
]) {
  test.describe(`in ${timezoneId} at ${local}`, () => {
    test.use({ timezoneId });

    test("a time is stored as it was entered", async ({ page }) => {
      await page.goto("/events");
      await hydrated(page);
      const from = page.getByLabel("From", { exact: true });
      const file = page.getByTestId("export").getByText("CSV");
      await from.fill(local);
      await from.blur();
      await expect(file).toHaveAttribute("href", new RegExp(`from=${encodeURIComponent(utc)}`));
      await expect(from).toHaveValue(shown);
      const choice = page.getByTestId("events-from-offset");
      if (local === "2027-10-31T02:30") {
        await expect(choice.getByRole("option")).toHaveText(["First 02:30, UTC+2", "Second 02:30, UTC+1"]);
        await choice.selectOption("60");
        await expect(file).toHaveAttribute("href", new RegExp(`from=${encodeURIComponent("2027-10-31T01:30:00Z")}`));
        await expect(from).toHaveValue(local);
      } else {
        await expect(choice).toHaveCount(0);
      }
      await expect(page.getByText(`Clocks skip ${local.slice(11)}; ${shown.slice(11)} is used.`)).toHaveCount(shown === local ? 0 : 1);
    });
  });
}

test.describe("in New York", () => {
  test.use({ timezoneId: "America/New_York" });

  test("times are entered in the user's time zone, in summer and in winter", async ({ page, api }) => {
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
    await openRunning(page, api);
    await page.locator(".custom summary").click();
    await page.getByLabel("From").fill("2026-07-01T08:00");
    await page.getByLabel("To", { exact: true }).fill("2026-07-01T09:30");
    await page.locator(".custom").getByRole("button", { name: "Apply" }).click();
    await expect(page.getByTestId("custom-range")).toContainText("1 Jul, 08:00");
    await expect(page.getByTestId("custom-range").locator("time").last()).toHaveAttribute("datetime", "2026-07-01T13:30:00Z");
  });
});
