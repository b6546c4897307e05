// How somebody gets an account and, after they lost their password, back into it: by links of an admin.

import { enter, expect, fits, hydrated, inEachLook, submit, USER, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const NEW_PASSWORD = "another long password";

const test = withFleet({ name: "access", vms: 1 });

/** A browser of somebody else, whose pages are watched as well. */
async function otherBrowser(browser, problems, baseURL, options = {}) {
  const context = await browser.newContext({ storageState: undefined, baseURL, ...options });
  const page = await context.newPage();
  problems.watch(page);
  return page;
}

async function looksRight(page, name) {
  await inEachLook(page, (look) => fits(page, name, look));
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function fill(page, fields) {
  for (const [name, value] of Object.entries(fields)) await page.locator(`form [name=${name}]`).fill(value);
}

/** The link that the page shows, as a path: its host is the one of this server. */
async function shownLink(place, baseURL) {
  const link = await place.getByTestId("new-link").getByRole("textbox").inputValue();
  expect(link.startsWith(`${baseURL}/`)).toBe(true);
  return link.slice(baseURL.length);
}

test("an invitation creates an account once", async ({ page, browser, problems, baseURL }) => {
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url(), request.headers().referer ?? ""));
  await page.goto("/admin/accounts");
  await hydrated(page);
  const invitations = page.getByTestId("invitations");
  await invitations.getByLabel("For", { exact: true }).fill("Eve of the lab");
  await invitations.getByLabel("Credits").fill("42");
  await invitations.getByRole("button", { name: "Create invitation" }).click();
  await expect(page.getByTestId("open-invitations")).toContainText("Eve of the lab");
  await expect(page.getByTestId("open-invitations")).toContainText("42 credits");
  const link = await shownLink(invitations, baseURL);
  await looksRight(page, "invitation-link");

  const visitor = await otherBrowser(browser, problems, baseURL);
  visitor.on("request", (request) => addresses.push(request.url(), request.headers().referer ?? ""));
  await visitor.goto("/sign-in");
  await expect(visitor.getByText("Ask an admin for an invitation.")).toBeVisible();
  await expect(visitor.getByRole("link", { name: "Create one" })).toHaveCount(0);
  await visitor.goto(link);
  const code = link.split("#")[1];
  await expect(visitor.locator("[name=invitation]")).toHaveValue(code);
  await looksRight(visitor, "invited");
  await fill(visitor, { username: "eve", email: "eve@example.org", password: USER.password });
  await submit(visitor, "password");
  await expect(visitor).toHaveURL("/");
  await expect(visitor.getByTestId("quota")).toContainText("0 of 42");
  await visitor.getByTestId("sign-out").click();
  await expect(visitor).toHaveURL("/sign-in");
  await enter(visitor, "/sign-in", { username: "eve", password: USER.password });

  await visitor.getByTestId("sign-out").click();
  await visitor.goto(link);
  await expect(visitor.locator("[name=invitation]")).toHaveValue(code);
  await fill(visitor, { username: "mallory", email: "mallory@example.org", password: USER.password });
  problems.allow(/status of 400/);
  await submit(visitor, "password");
  await expect(visitor.getByTestId("error")).toContainText("it may have been used");
  expect(addresses.filter((address) => address.split("#")[0].includes(code))).toEqual([]);
  await visitor.context().close();

  await page.reload();
  await hydrated(page);
  await expect(invitations).toContainText("No open invitations.");
  await expect(page.getByTestId("new-link")).toHaveCount(0);
  await expect(page.locator("[data-account=eve]").getByTestId("credits")).toHaveText("42 credits");
});

test("an invitation is revoked", async ({ page }) => {
  await page.goto("/admin/accounts");
  await hydrated(page);
  const invitations = page.getByTestId("invitations");
  await invitations.getByLabel("For", { exact: true }).fill("Carl");
  await invitations.getByRole("button", { name: "Create invitation" }).click();
  await invitations.getByRole("button", { name: "Revoke the invitation of Carl" }).click();
  await expect(page.getByTestId("open-invitations")).not.toContainText("Carl");
});

test("a lost password is replaced with an admin's link, which ends all sessions", async ({ page, api, browser, problems, baseURL }) => {
  await api.post("create_account", { username: "bob", email: "bob@example.org", password: USER.password, role: "user" });
  // The page that is open when the session ends polls once more.
  problems.allow(/status of 401/);
  const before = await otherBrowser(browser, problems, baseURL);
  await enter(before, "/sign-in", { username: "bob", password: USER.password });

  await page.goto("/admin/accounts");
  await hydrated(page);
  const bob = page.locator("[data-account=bob]");
  await bob.getByRole("button", { name: "Password link for bob" }).click();
  const link = await shownLink(bob, baseURL);
  await looksRight(page, "password-link");

  const visitor = await otherBrowser(browser, problems, baseURL);
  await visitor.goto(link);
  await expect(visitor.locator("[name=link]")).toHaveValue(link.split("#")[1]);
  await looksRight(visitor, "new-password");
  await fill(visitor, { new_password: "short" });
  await submit(visitor, "new_password");
  await expect(visitor.locator("[data-field=new_password]")).toHaveText(/10 to 128 characters/);
  await fill(visitor, { new_password: NEW_PASSWORD });
  await submit(visitor, "new_password");
  await expect(visitor.getByText("Your new password is set.")).toBeVisible();
  await looksRight(visitor, "password-set");
  await fill(visitor, { username: "bob", password: NEW_PASSWORD });
  await submit(visitor, "password");
  await expect(visitor).toHaveURL("/");
  await before.goto("/account");
  await expect(before).toHaveURL(/\/sign-in/);
  await before.context().close();
  await visitor.context().close();
});

test.describe("without JavaScript", () => {
  test.use({ javaScriptEnabled: false });

  test("links are shown once, and their codes entered", async ({ page, browser, problems, baseURL }) => {
    problems.allow(UNUSED_AHEAD);
    await page.goto("/admin/accounts");
    const invitations = page.getByTestId("invitations");
    await invitations.getByLabel("For", { exact: true }).fill("Dora");
    await invitations.getByRole("button", { name: "Create invitation" }).click();
    const invitation = await shownLink(invitations, baseURL);
    await page.reload();
    await expect(page.getByTestId("new-link")).toHaveCount(0);

    const visitor = await otherBrowser(browser, problems, baseURL, { javaScriptEnabled: false });
    const dora = { username: "dora", email: "dora@example.org", password: USER.password };
    await visitor.goto("/register");
    await fill(visitor, { ...dora, invitation: "not the code" });
    await submit(visitor, "password");
    await expect(visitor.getByTestId("error")).toContainText("This invitation is not valid");
    await expect(visitor.locator("[name=username]")).toHaveValue("dora");
    await fill(visitor, { password: USER.password, invitation: invitation.split("#")[1] });
    await submit(visitor, "password");
    await expect(visitor).toHaveURL("/");

    await page.goto("/admin/accounts");
    const entry = page.locator("[data-account=dora]");
    await entry.getByRole("button", { name: "Password link for dora" }).click();
    const link = await shownLink(entry, baseURL);
    await visitor.goto("/new-password");
    await fill(visitor, { new_password: NEW_PASSWORD, link: link.split("#")[1] });
    await submit(visitor, "new_password");
    await expect(visitor.getByText("Your new password is set.")).toBeVisible();
    await enter(visitor, "/sign-in", { username: "dora", password: NEW_PASSWORD });
    await visitor.context().close();
  });
});
