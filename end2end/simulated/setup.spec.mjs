// The first start: who opens a new server becomes its admin.

import { client, enter, expect, fits, hydrated, inEachLook, USER, submit, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const VMS = 5;

const test = withFleet({ name: "setup", vms: VMS, hasAdmin: false });

test("the first start asks for the admin's account, without JavaScript too", async ({ page, browser, problems }) => {
  const open = async () => {
    await page.goto("/");
    await expect(page).toHaveURL("/setup");
    await hydrated(page);
  };
  await inEachLook(page, (look) => fits(page, "setup", look), open);
  await expect(page.getByTestId("provider")).toHaveText("Simulated fleet");
  await page.locator("[name=username]").fill("ada");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-field=password]")).toHaveText(/10 to 128 characters/);

  problems.allow(UNUSED_AHEAD);
  const context = await browser.newContext({ javaScriptEnabled: false });
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

test("the first account is the admin's and sees the simulated fleet", async ({ page, context, server }) => {
  await enter(page, "/setup", USER);
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(page.getByText("Simulated").first()).toBeVisible();
  expect(await client(context.request, server.url).get("current_user")).toMatchObject({ username: USER.username, role: "admin" });
});
