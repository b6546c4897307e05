// The first start: who opens a new server becomes its admin.

import { client, expect, fits, hydrated, inEachLook, USER, submit, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const VMS = 5;

const test = withFleet({ name: "setup", vms: VMS, hasAdmin: false });

test("the first start asks for the admin's account, without JavaScript too", async ({ page, browser, problems, server }) => {
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
  const rejected = async (fields, text) => {
    for (const [name, value] of Object.entries(fields)) await plain.locator(`[name=${name}]`).fill(value);
    await submit(plain, "password");
    await expect(plain.getByTestId("error")).toContainText(text);
    await expect(plain.locator("[name=email]")).toHaveValue(USER.email);
    for (const secret of ["password", "setup_code"]) await expect(plain.locator(`[name=${secret}]`)).toHaveValue("");
  };
  await rejected({ ...USER, password: "too short", setup_code: server.setupCode }, "10");
  await rejected({ password: USER.password, setup_code: "0000-0000-0000" }, "This is not the setup code.");
  await context.close();
});

test("the first account is the admin's and sees the simulated fleet", async ({ page, context, server }) => {
  // As the terminal prints the address: the code behind # is filled in.
  await page.goto(`/setup#${server.setupCode}`);
  await expect(page.locator("[name=setup_code]")).toHaveValue(server.setupCode);
  for (const [name, value] of Object.entries(USER)) await page.locator(`[name=${name}]`).fill(value);
  await submit(page, "password");
  await expect(page).toHaveURL("/");
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(page.getByText("Simulated").first()).toBeVisible();
  expect(await client(context.request, server.url).get("current_user")).toMatchObject({ username: USER.username, role: "admin" });
});
