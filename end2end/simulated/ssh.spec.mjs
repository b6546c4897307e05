// One's own ssh client: the keys of the account, and the commands on a VM's terminal page.

import { expect, fitsInEachLook, hydrated, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "ssh" });

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqzdNcf9bLuWo6G/SHCGz0O/EgujCxFwhzYxTfqgbBX me@laptop";

test("a key is added with its comment as name, and deleted", async ({ page, api, problems }) => {
  problems.allow(/status of 400/);
  await page.goto("/account");
  await hydrated(page);
  await page.getByRole("link", { name: "SSH keys" }).click();
  await expect(page.getByTestId("ssh-keys")).toContainText("No keys yet");
  const key = page.getByLabel("Public key");
  await key.fill("ssh-dss AAAA");
  await page.getByRole("button", { name: "Add key" }).click();
  await expect(page.getByTestId("add-key")).toContainText("DSA keys are not secure any more");
  await expect(key).toHaveValue("ssh-dss AAAA");
  await key.fill(KEY);
  await page.getByRole("button", { name: "Add key" }).click();
  await expect(page.getByTestId("ssh-keys")).toContainText("me@laptop");
  await expect(page.getByTestId("ssh-keys")).toContainText("SHA256:");
  await expect(key).toHaveValue("");
  await fitsInEachLook(page, "keys-one", "/account/keys");
  await page.goto("/account/keys");
  await hydrated(page);
  await page.getByRole("button", { name: "Delete the key me@laptop" }).click();
  await expect(page.getByTestId("ssh-keys")).toContainText("No keys yet");
  expect(await api.get("list_ssh_keys")).toEqual([]);
});

test("a VM's terminal page has the commands, ready to copy", async ({ page, api, context }) => {
  const { id, name } = (await api.get("list_vms")).find((vm) => vm.status === "running");
  const { port } = await api.get("ssh_gateway");
  await page.goto(`/vms/${id}/terminal`);
  await hydrated(page);
  const connect = page.getByTestId("connect");
  await expect(connect).toContainText("You have no ssh key here yet");
  const { hostname } = new URL(page.url());
  await expect(connect).toContainText(`ssh -p ${port} ${name}@${hostname}`);
  await expect(connect).toContainText(`scp -P ${port} FILE ${name}@${hostname}:`);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await connect.getByRole("button", { name: "Copy: Shell" }).click();
  await expect(connect.getByRole("button", { name: "Copy: Shell" })).toHaveText("Copied");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`ssh -p ${port} ${name}@${hostname}`);
  await api.post("add_ssh_key", { public_key: KEY });
  await page.reload();
  await expect(connect).not.toContainText("You have no ssh key here yet");
  // A page that is just coming back to its terminal would find none.
  await page.close();
  await api.post("end_all_terminals", {});
});
