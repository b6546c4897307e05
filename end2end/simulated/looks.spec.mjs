// Every page fits a wide and a narrow screen, in light and dark, and nothing on it keeps anybody from using it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { client, expect, fitsInEachLook, furnish, USER, withFleet } from "../fixtures.mjs";
import { ROOT } from "../server.mjs";

const PAGES = {
  overview: "/",
  vm: "/vms/1",
  "vm-snapshots": "/vms/1/snapshots",
  "vm-activity": "/vms/1/activity",
  "vm-settings": "/vms/1/settings",
  launch: "/vms/new",
  adopt: "/vms/adopt",
  monitor: "/monitor",
  alerts: "/alerts",
  rules: "/alerts/rules",
  events: "/events",
  account: "/account",
  "second-factor": "/account/second-factor",
  "confirm-password": "/confirm-password",
  keys: "/account/keys",
  accounts: "/admin/accounts",
  admin: "/admin",
};

const test = withFleet({ name: "looks", vms: 8 }).extend({
  // Pages with something on them: VMs in several states, open alerts, a webhook with a delivery, a deactivated account and
  // another device.
  past: [
    async ({ playwright, server, api }, use) => {
      await furnish(api);
      await api.post("set_webhook", { url: `${server.url}/health` });
      await api.post("test_notification", { channel: "webhook" });
      const bob = (await api.get("accounts")).find(({ username }) => username === "bob");
      await api.post("grant_credits", { account_id: bob.id, amount: 50, reason: "for the course" });
      await api.post("set_account_active", { account_id: bob.id, is_active: false });
      const device = await playwright.request.newContext();
      await client(device, server.url).post("sign_in", { username: USER.username, password: USER.password });
      await device.dispose();
      await use();
    },
    { scope: "worker", timeout: 120_000 },
  ],
});

// Each worker takes the next page. A trace would take a fifth of the time, and has no steps to show.
test.use({ trace: "off" });
test.describe.configure({ mode: "parallel" });

for (const [name, path] of Object.entries(PAGES)) {
  test(`the page ${name} fits every screen, light and dark`, ({ page, past }) => fitsInEachLook(page, name, path));
}

test("the page of styles shows every token", async ({ page }) => {
  const css = await readFile(join(ROOT, "style/tokens.css"), "utf8");
  const names = [...css.matchAll(/^ *(--[a-z0-9-]+):|; (--[a-z0-9-]+):/gm)].map((found) => found[1] ?? found[2]);
  await fitsInEachLook(page, "style", "/style");
  const shown = await page.locator("[data-token]").evaluateAll((elements) => elements.map((element) => element.dataset.token));
  expect(shown).toEqual(expect.arrayContaining(names));
  const fill = (ground) => page.locator(`.${ground} [data-token="--bg"] rect`).evaluate((rect) => getComputedStyle(rect).fill);
  expect(await fill("light")).not.toBe(await fill("dark"));
  await page.getByRole("button", { name: "A toast of trouble" }).click();
  await expect(page.getByTestId("toasts")).toContainText("start failed");
});
