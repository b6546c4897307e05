// A VM that its owner shares with another user, on both sides.

import { expect, fitsInEachLook, hydrated, openTab, row, USER, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "sharing" });

const BOB = { username: "bob", email: "bob@example.org", password: USER.password };

/** A page of bob, with whom the VM 1 is shared. */
async function pageOfBob(browser, server) {
  const context = await browser.newContext({ storageState: undefined, baseURL: server.url });
  const form = { username: BOB.username, password: BOB.password };
  const headers = { origin: server.url, accept: "application/json" };
  expect((await context.request.post("/api/v1/sign_in", { form, headers })).ok()).toBe(true);
  return context.newPage();
}

test("an owner shares a VM, and its new viewer looks at it, operates it and leaves", async ({ page, api, browser, server, problems }) => {
  await api.post("create_account", { ...BOB, role: "user" });
  const [{ id, name }] = await api.get("list_vms");
  const bob = await pageOfBob(browser, server);
  problems.allow(/share_vm/);
  problems.watch(bob);
  await bob.goto("/");
  await hydrated(bob);
  await expect(row(bob, name)).toHaveCount(0);

  await page.goto(`/vms/${id}/settings`);
  await hydrated(page);
  const sharing = page.getByTestId("sharing");
  await expect(sharing).toContainText("Not shared with anyone.");
  const share = async (username, access) => {
    await sharing.getByLabel("User name").fill(username);
    await sharing.getByLabel("Access", { exact: true }).selectOption(access);
    await sharing.getByRole("button", { name: "Share" }).click();
  };
  await share("nobody", "view");
  await expect(sharing).toContainText("There is no active account of this name.");
  await share("bob", "view");
  await expect(sharing.locator("[data-user=bob]")).toContainText("can view");
  await fitsInEachLook(page, "sharing", `/vms/${id}/settings`);

  await bob.goto("/");
  await hydrated(bob);
  await expect(row(bob, name)).toContainText("ada");
  await expect(row(bob, name).getByRole("button", { name: /^Stop/ })).toHaveCount(0);
  await row(bob, name).getByRole("link", { name, exact: true }).click();
  await expect(bob.getByRole("button", { name: "Stop" })).toHaveCount(0);
  await openTab(bob, "Snapshots");
  await expect(bob.getByTestId("snapshots")).toBeVisible();
  await expect(bob.getByRole("button", { name: "Save snapshot" })).toHaveCount(0);
  await openTab(bob, "Settings");
  await expect(bob.getByTestId("shared-with-me")).toContainText("You can view it.");
  await expect(bob.getByTestId("danger")).toHaveCount(0);
  await fitsInEachLook(bob, "shared-with-me", `/vms/${id}/settings`);

  // The page follows what the owner changes meanwhile.
  await page.goto(`/vms/${id}/settings`);
  await hydrated(page);
  await share("bob", "operate");
  await expect(sharing.locator("[data-user=bob]")).toContainText("can operate");
  await expect(bob.getByTestId("shared-with-me")).toContainText("You can view and operate it.");
  await expect(bob.getByRole("button", { name: "Stop" })).toBeVisible();
  await expect(bob.getByTestId("schedule")).toBeVisible();
  await expect(bob.getByRole("switch")).toHaveCount(0);

  await bob.getByRole("button", { name: "Give up access" }).click();
  await expect(bob).toHaveURL("/");
  await expect(row(bob, name)).toHaveCount(0);

  await page.goto(`/vms/${id}/settings`);
  await hydrated(page);
  await expect(sharing).toContainText("Not shared with anyone.");
  await share("bob", "view");
  await expect(sharing.locator("[data-user=bob]")).toBeVisible();
  await bob.goto(`/vms/${id}`);
  await hydrated(bob);
  await sharing.getByRole("button", { name: "End access of bob" }).click();
  await expect(sharing).toContainText("Not shared with anyone.");
  problems.allow(/status of 404/);
  await expect(bob.getByTestId("gone")).toContainText("no longer shared with you");
  await bob.context().close();
});

test("a VM is shared without JavaScript", async ({ api, browser, server, problems }) => {
  const [{ id }] = await api.get("list_vms");
  await api.post("create_account", { ...BOB, username: "carol", email: "carol@example.org", role: "user" });
  const context = await browser.newContext({ storageState: api.session, baseURL: server.url, javaScriptEnabled: false });
  const page = await context.newPage();
  problems.watch(page);
  await page.goto(`/vms/${id}/settings`);
  const sharing = page.getByTestId("sharing");
  await sharing.getByLabel("User name").fill("carol");
  await sharing.getByRole("button", { name: "Share" }).click();
  await expect(sharing.locator("[data-user=carol]")).toContainText("can view");
  await sharing.getByRole("button", { name: "End access of carol" }).click();
  await expect(sharing).toContainText("Not shared with anyone.");
  await context.close();
});
