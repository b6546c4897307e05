// The second factor: set up with an app, used to sign in, required of admins; and the password that is asked for again.

import { createHmac } from "node:crypto";
import { expect, fits, hydrated, inEachLook, submit, USER, UNUSED_AHEAD, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "second-factor", vms: 1 });

/** The code of an app (RFC 6238), so many steps from now. */
function code(key, steps = 0) {
  const bits = [...key.replaceAll(" ", "")].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const secret = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac("sha1", secret).update(counter).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return `${number % 1_000_000}`.padStart(6, "0");
}

/** A browser of a user of this name, who is made first and is signed in. */
async function browserOf(username, { api, browser, problems, baseURL, ...options }, role = "user") {
  await api.post("create_account", { username, email: `${username}@example.org`, password: USER.password, role });
  const context = await browser.newContext({ storageState: undefined, baseURL, ...options });
  const page = await context.newPage();
  problems.watch(page);
  await page.goto("/sign-in");
  await enterSignIn(page, username);
  await expect(page).toHaveURL("/");
  return page;
}

async function enterSignIn(page, username) {
  await page.locator("form [name=username]").fill(username);
  await page.locator("form [name=password]").fill(USER.password);
  await submit(page, "password");
}

async function looksRight(page, name) {
  await inEachLook(page, (look) => fits(page, name, look));
  await page.setViewportSize({ width: 1280, height: 900 });
}

async function signOut(page) {
  await page.goto("/");
  await page.getByTestId("sign-out").click();
  await expect(page).toHaveURL("/sign-in");
}

/** Gives the recovery codes. */
async function recoveryCodes(page) {
  const text = await page.getByTestId("recovery-codes").getByRole("textbox").inputValue();
  const codes = text.split("\n");
  expect(codes).toHaveLength(10);
  return codes;
}

test("a second factor is set up, and asked for at sign-in", async ({ api, browser, problems, baseURL }) => {
  const page = await browserOf("bob", { api, browser, problems, baseURL });
  await page.goto("/account");
  await hydrated(page);
  await page.getByRole("link", { name: "Second factor…" }).click();
  await expect(page.getByTestId("state")).toHaveText("Off.");
  await looksRight(page, "second-factor-off");
  await page.getByRole("button", { name: "Set up" }).click();
  const key = await page.getByTestId("secret").textContent();
  await expect(page.getByRole("img", { name: "QR code for an authenticator app" })).toBeVisible();
  await looksRight(page, "second-factor-setup");
  problems.allow(/status of 400/);
  await page.locator("[name=code]").fill("1");
  await submit(page, "code");
  await expect(page.getByTestId("error")).toContainText("This is not the app's current code.");
  await page.locator("[name=code]").fill(code(key));
  await submit(page, "code");
  await expect(page.getByTestId("state")).toHaveText("On. Recovery codes left: 10.");
  const codes = await recoveryCodes(page);
  await looksRight(page, "second-factor-on");
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download" }).click();
  expect((await download).suggestedFilename()).toBe("twarga-cloud-recovery-codes.txt");
  await page.reload();
  await hydrated(page);
  await expect(page.getByTestId("recovery-codes")).toHaveCount(0);

  await signOut(page);
  await hydrated(page);
  await enterSignIn(page, "bob");
  await expect(page.getByTestId("error")).toContainText("Enter the code of your authenticator app");
  await looksRight(page, "sign-in-code");
  await expect(page.locator("[name=password]")).toHaveValue(USER.password);
  await page.locator("[name=code]").fill(code(key, 1));
  await submit(page, "code");
  await expect(page).toHaveURL("/");

  await signOut(page);
  await hydrated(page);
  await enterSignIn(page, "bob");
  await page.locator("[name=code]").fill(codes[0]);
  await submit(page, "code");
  await expect(page).toHaveURL("/");
  await page.goto("/account/second-factor");
  await expect(page.getByTestId("state")).toHaveText("On. Recovery codes left: 9.");
  await page.goto("/confirm-password?next=/account");
  await hydrated(page);
  await looksRight(page, "confirm-password");
  await page.locator("[name=password]").fill(USER.password);
  await page.locator("[name=code]").fill(codes[1]);
  await submit(page, "password");
  await expect(page).toHaveURL("/account");

  await page.goto("/account/second-factor");
  await hydrated(page);
  await page.getByRole("button", { name: "Make new recovery codes" }).click();
  expect(await recoveryCodes(page)).not.toContain(codes[2]);
  await page.getByRole("button", { name: "Turn off" }).click();
  await expect(page.getByTestId("state")).toHaveText("Off.");
  await page.context().close();
});

test("an admin without the required second factor is led to it", async ({ page, api, browser, problems, baseURL }) => {
  const carol = await browserOf("carol", { api, browser, problems, baseURL }, "admin");
  await page.goto("/admin/accounts");
  await hydrated(page);
  const policy = page.getByTestId("policy");
  problems.allow(/status of 409/);
  await policy.getByRole("button", { name: "Require it" }).click();
  await expect(policy.getByTestId("error")).toContainText("Set up a second factor for your own account first.");
  await page.goto("/account/second-factor");
  await hydrated(page);
  await page.getByRole("button", { name: "Set up" }).click();
  await page.locator("[name=code]").fill(code(await page.getByTestId("secret").textContent()));
  await submit(page, "code");
  await recoveryCodes(page);
  await page.goto("/admin/accounts");
  await hydrated(page);
  await policy.getByRole("button", { name: "Require it" }).click();
  await expect(policy).toContainText("Required:");

  // What her pages ask for meanwhile is refused.
  problems.allow(/status of 403/);
  await carol.goto("/admin");
  await expect(carol).toHaveURL("/account/second-factor");
  await expect(carol.getByText("Admins need a second factor on this server.")).toBeVisible();
  await signOutHere(carol);
  await enterSignIn(carol, "carol");
  await expect(carol).toHaveURL("/account/second-factor");
  await hydrated(carol);
  await looksRight(carol, "second-factor-required");
  await carol.getByRole("button", { name: "Set up" }).click();
  await carol.locator("[name=code]").fill(code(await carol.getByTestId("secret").textContent()));
  await submit(carol, "code");
  await recoveryCodes(carol);
  await carol.goto("/admin");
  await expect(carol.getByRole("heading", { name: "Admin", exact: true })).toBeVisible();
  await carol.context().close();

  await page.reload();
  await hydrated(page);
  const entry = page.locator("[data-account=carol]");
  await expect(entry).toContainText("second factor");
  await entry.getByRole("button", { name: "Remove second factor" }).click();
  await expect(entry.getByRole("button", { name: "Remove second factor" })).toHaveCount(0);
  await policy.getByRole("button", { name: "Do not require it" }).click();
  await expect(policy).toContainText("Optional.");
});

async function signOutHere(page) {
  await hydrated(page);
  await page.getByTestId("sign-out").click();
  await expect(page).toHaveURL("/sign-in");
  await hydrated(page);
}

test.describe("without JavaScript", () => {
  test("a second factor is set up and used without JavaScript", async ({ api, browser, problems, baseURL }) => {
    problems.allow(UNUSED_AHEAD);
    const page = await browserOf("dora", { api, browser, problems, baseURL, javaScriptEnabled: false });
    await page.goto("/account/second-factor");
    await page.getByRole("button", { name: "Set up" }).click();
    const key = await page.getByTestId("secret").textContent();
    await page.locator("[name=code]").fill(code(key));
    await submit(page, "code");
    const codes = await recoveryCodes(page);
    await page.reload();
    await expect(page.getByTestId("recovery-codes")).toHaveCount(0);
    await signOut(page);
    await enterSignIn(page, "dora");
    await expect(page.getByTestId("error")).toContainText("Enter the code of your authenticator app");
    await expect(page.locator("[name=username]")).toHaveValue("dora");
    for (const [right, entered] of [[false, "000000"], [true, code(key, 1)]]) {
      await page.locator("[name=password]").fill(USER.password);
      await page.locator("[name=code]").fill(entered);
      await submit(page, "code");
      if (right) await expect(page).toHaveURL("/");
      else await expect(page.getByTestId("error")).toContainText("not the app's current code");
    }
    await page.goto("/confirm-password?next=/account/second-factor");
    await page.locator("[name=password]").fill(USER.password);
    await page.locator("[name=code]").fill(codes[0]);
    await submit(page, "password");
    await expect(page).toHaveURL("/account/second-factor");
    await page.getByRole("button", { name: "Turn off" }).click();
    await expect(page.getByTestId("state")).toHaveText("Off.");
    await page.context().close();
  });
});
