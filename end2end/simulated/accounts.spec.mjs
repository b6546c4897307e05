// Signing in, accounts and what each user sets up for themselves.

import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { confirm, enter, expect, fitsInEachLook, hydrated, USER, signIn, submit, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "accounts" });

test.describe("signed out", () => {
  test.beforeEach(({ context }) => context.clearCookies());

  for (const javaScriptEnabled of [true, false]) {
    test.describe(javaScriptEnabled ? "with JavaScript" : "without JavaScript", () => {
      test.use({ javaScriptEnabled });

      test("signing in leads to the requested page", async ({ page, problems }) => {
        problems.allow(UNUSED_AHEAD);
        await page.goto("/events?severity=info");
        await expect(page).toHaveURL(/\/sign-in\?next=/);
        if (javaScriptEnabled) await hydrated(page);
        for (const [name, value] of Object.entries({ username: USER.username, password: USER.password })) {
          await page.locator(`form [name=${name}]`).fill(value);
        }
        await submit(page, "password");
        await expect(page).toHaveURL("/events?severity=info");
      });

      test("after too many wrong passwords the page says how long to wait", async ({ page, problems }) => {
        problems.allow(UNUSED_AHEAD);
        problems.allow(/status of 4(00|29)/);
        const username = `guessed-${javaScriptEnabled ? "with" : "without"}-scripts`;
        const form = { username, password: "a wrong password" };
        await page.goto("/sign-in");
        if (javaScriptEnabled) await hydrated(page);
        // One more is allowed every 5 seconds.
        await expect(async () => {
          await Promise.all(Array.from({ length: 8 }, () => page.request.post("/api/auth/login", { form })));
          for (const [name, value] of Object.entries(form)) await page.locator(`form [name=${name}]`).fill(value);
          await submit(page, "password");
          const wait = page.getByText(/Too many wrong passwords\. Try again in \d+ s\./).first();
          await expect(wait).toBeVisible({ timeout: 5_000 });
        }).toPass();
        await expect(page).toHaveURL(/sign-in/);
      });
    });
  }

  for (const name of ["sign-in", "register", "new-password", "confirm-email", "nowhere"]) {
    test(`the page ${name} fits every screen, light and dark`, async ({ page, problems }) => {
      problems.allow(/status of 404/);
      await fitsInEachLook(page, name, `/${name}`);
    });
  }
});

test("a theme is chosen once, and applies to the next page without a flash", async ({ page }) => {
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

test("an admin creates an account, grants credits and deactivates it", async ({ page, browser }) => {
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

  const context = await browser.newContext({ storageState: undefined });
  const other = await context.newPage();
  await enter(other, "/sign-in", { username: "bob", password: USER.password });
  await confirm(bob, "Deactivate…", "bob");
  await bob.getByRole("button", { name: "Deactivate", exact: true }).click();
  await expect(bob).toContainText("deactivated");
  await other.goto("/");
  await expect(other).toHaveURL("/sign-in");
  await context.close();
});

test("another device is signed out", async ({ page, browser, server }) => {
  const context = await browser.newContext({ storageState: undefined });
  await signIn(context, server.url);
  await page.goto("/account");
  await hydrated(page);
  const devices = page.getByTestId("devices").getByRole("listitem");
  const count = await devices.count();
  await page.getByTestId("devices").getByRole("button", { name: "Sign out", exact: true }).first().click();
  await expect(devices).toHaveCount(count - 1);
  await context.close();
});

test("a webhook receives the test of its notifications", async ({ page }) => {
  // Alerts of the host come here, too, where it is busy.
  const receiver = createServer(async (request, response) => {
    const { type } = await json(request);
    if (type === "test") received.push(request.headers["webhook-signature"]);
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
