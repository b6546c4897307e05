// What the keyboard alone does: the palette, keys and dialogs.

import { expect, firstRunning, fits, hydrated, openRunning, openTab, runningVm, shot, signIn, status, violations, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "keyboard" });

test("any place is reached by keyboard, and the keys are listed", async ({ page }) => {
  await page.goto("/");
  await hydrated(page);
  const name = await firstRunning(page);
  await page.keyboard.press("Control+k");
  const palette = page.getByTestId("palette");
  await expect(palette.getByRole("combobox")).toBeFocused();
  await page.keyboard.type(name);
  await expect(palette.getByRole("option").first()).toContainText(name);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
  await expect(palette).toBeHidden();
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await expect(page).toHaveURL("/events");
  await expect(page.getByLabel("Search the text")).toBeVisible();
  await page.keyboard.press("?");
  await expect(page.getByTestId("keys")).toBeVisible();
  await expect(page.getByTestId("keys")).toContainText("Go to a page or VM, or run an action");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("keys")).toBeHidden();
  await page.keyboard.press("/");
  await expect(page.getByLabel("Search the text")).toBeFocused();
});

test("VMs, the theme and the session are managed from the palette", async ({ page, context, server, api, problems }) => {
  problems.allow(/status of 400 .*save_snapshot/);
  // A poll may be under way when the session ends.
  problems.allow(/status of 401 .*metrics_since/);
  // A session of its own, which it ends.
  await signIn(context, server.url);
  await page.goto("/monitor");
  await hydrated(page);
  const { name } = await runningVm(api);
  const palette = page.getByTestId("palette");
  const choose = async (what) => {
    await page.keyboard.press("Control+k");
    await expect(palette.getByRole("combobox")).toBeFocused();
    await page.keyboard.type(what);
    await expect(palette.getByRole("option", { selected: true })).toContainText(what);
    await page.keyboard.press("Enter");
  };
  await choose(`Save a snapshot of ${name}`);
  await expect(palette.getByLabel("Snapshot name")).toBeFocused();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await fits(page, "palette-question", colorScheme);
  }
  await page.keyboard.type("-wrong-");
  await page.keyboard.press("Enter");
  await expect(palette.getByRole("alert")).toContainText("The snapshot name must have");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("from-palette");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(name);
  await expect(page.getByTestId("snapshots").locator(".what b", { hasText: "from-palette" })).toBeVisible();

  // The focus may leave it, which closes it.
  await choose(`Destroy ${name}`);
  await expect(palette.getByRole("status")).toContainText("This cannot be undone.");
  for (let presses = 0; presses < 3; presses++) await page.keyboard.press("Tab");
  await expect(palette).toBeHidden();

  await choose(`Suspend ${name}`);
  await expect(status(page)).toHaveText("suspended", { timeout: 30_000 });
  await choose(`Resume ${name}`);
  await expect(status(page)).toHaveText("running", { timeout: 30_000 });
  for (const what of [`Destroy ${name}`, `Power off ${name}`]) {
    await choose(what);
    await page.keyboard.type("another");
    await page.keyboard.press("Enter");
    await expect(palette.locator(".btn.danger")).toBeDisabled();
    await palette.getByRole("button", { name: "Back" }).click();
    await expect(palette.getByRole("combobox")).toBeFocused();
    await page.keyboard.press("Escape");
    await expect(palette).toBeHidden();
  }
  await choose(`Power off ${name}`);
  await page.keyboard.type(name);
  await page.keyboard.press("Enter");
  await expect(status(page)).toHaveText("stopped", { timeout: 30_000 });
  await choose(`Start ${name}`);
  await expect(status(page)).toHaveText("running", { timeout: 30_000 });

  await choose("Dark theme");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await choose("System theme");
  await expect(page.locator("html")).not.toHaveAttribute("data-theme");
  await choose("Sign out");
  await expect(page).toHaveURL(/sign-in/);
});

test("destroying a VM asks for its name in a dialog that the keyboard can use", async ({ page, api }) => {
  const { name } = await openRunning(page, api);
  await openTab(page, "Settings");
  const ask = page.getByTestId("destroy");
  const dialog = page.getByRole("dialog");
  const field = dialog.getByRole("textbox");
  const destroy = dialog.getByRole("button", { name: "Destroy", exact: true });
  await ask.focus();
  await page.keyboard.press("Space");
  await expect(field).toBeFocused();
  await page.keyboard.type(`${name}-2`);
  await expect(destroy).toBeDisabled();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await shot(page, `destroy-${colorScheme}`);
    expect(await violations(page)).toEqual([]);
  }
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(ask).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(field).toHaveValue("");
  await page.keyboard.type(name);
  await expect(destroy).toBeEnabled();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await expect(dialog).toBeHidden();
  await expect(ask).toBeFocused();
});
