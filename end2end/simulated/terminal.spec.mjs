// The terminal in the browser, with the shell of a simulated VM.

import { expect, fitsInEachLook, hydrated, row, USER, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "terminal" });

const screen = (page) => page.locator(".xterm-rows");
const prompt = /\$\s*$/;

/** Opens the terminal page of the first running VM, and waits for its prompt. */
async function openTerminal(page, api) {
  const { id, name } = (await api.get("list_vms")).find((vm) => vm.status === "running");
  await page.goto(`/vms/${id}/terminal`);
  await hydrated(page);
  await expect(screen(page)).toContainText(`vagrant@${name}:~$`);
  return { id, name };
}

async function endAll(api) {
  await api.post("end_all_terminals", {});
}

test("the page opens a shell, which is the same one after a reload", async ({ page, api }) => {
  const { id, name } = await openTerminal(page, api);
  await expect(screen(page)).toContainText("This VM is simulated");
  await page.keyboard.type("echo héllo wörld ✓");
  await page.keyboard.press("Enter");
  await expect(screen(page)).toContainText(/~\$\s*echo héllo wörld ✓\s*héllo wörld ✓/);
  await page.reload();
  await hydrated(page);
  await expect(screen(page)).toContainText("héllo wörld ✓");
  await page.keyboard.type("echo again");
  await page.keyboard.press("Enter");
  await expect(screen(page)).toContainText(/again\s*vagrant/);
  await expect(page.getByRole("button", { name: "Terminal 1" })).toHaveAttribute("aria-pressed", "true");

  await page.getByRole("button", { name: "New terminal" }).click();
  await expect(page.getByRole("button", { name: "Terminal 2" })).toHaveAttribute("aria-pressed", "true");
  await expect(screen(page)).toContainText(`vagrant@${name}`);
  await expect(screen(page)).not.toContainText("again");
  await page.getByRole("button", { name: "Terminal 1" }).click();
  await expect(screen(page)).toContainText("again");
  expect((await api.get("list_terminals")).length).toBe(2);

  await page.getByRole("button", { name: "End", exact: true }).click();
  await expect(page.getByRole("button", { name: "Terminal 1" })).toHaveCount(0);
  await expect.poll(async () => (await api.get("list_terminals")).length).toBe(1);
  await page.goto("/terminals");
  await hydrated(page);
  await expect(page.getByRole("listitem").filter({ hasText: name })).toContainText("ada · since");
  await fitsInEachLook(page, "terminals", "/terminals");
  await page.goto(`/vms/${id}`);
  await endAll(api);
});

test("the size follows the window, 10 kB are pasted, and a flood is interrupted", async ({ page, api }) => {
  await openTerminal(page, api);
  const size = async () => {
    await page.keyboard.type("size");
    await page.keyboard.press("Enter");
    await expect(screen(page)).toContainText(/\d+ x \d+\s*vagrant/);
    return (await screen(page).textContent()).match(/(\d+) x (\d+)(?!.*\d x \d)/).slice(1).map(Number);
  };
  const [columns] = await size();
  await page.setViewportSize({ width: 700, height: 900 });
  await expect.poll(async () => (await size())[0]).toBeLessThan(columns);
  const text = "0123456789".repeat(400);
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    document.querySelector(".xterm-helper-textarea").dispatchEvent(paste);
  }, `echo ${text} end`);
  await page.keyboard.press("Enter");
  await expect(screen(page)).toContainText(/9\s*end\s*vagrant/);
  await page.keyboard.type("yes");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(1_000);
  await page.keyboard.press("Control+c");
  await expect(screen(page)).toContainText(/\^C\s*vagrant@\S+\$/);
  await endAll(api);
});

test("signing out elsewhere ends it, and the page says so", async ({ page, api, browser, server, problems }) => {
  problems.allow(/401|404/);
  const context = await browser.newContext({ baseURL: server.url, storageState: undefined });
  const other = await context.newPage();
  const headers = { origin: server.url, accept: "application/json" };
  const form = { username: USER.username, password: USER.password };
  expect((await context.request.post("/api/v1/sign_in", { form, headers })).ok()).toBe(true);
  await openTerminal(other, api);
  expect((await context.request.post("/api/v1/sign_out", { headers })).ok()).toBe(true);
  await expect(other.locator(".terminal-status")).toHaveText("You are signed out.");
  await context.close();
});

test("a lost connection comes back to the same shell", async ({ page, api, problems }) => {
  problems.allow(/WebSocket|ERR_|Failed to load/);
  await openTerminal(page, api);
  await page.keyboard.type("echo before");
  await page.keyboard.press("Enter");
  await expect(screen(page)).toContainText(/before\s*vagrant/);
  // Another client takes the terminal over, as a reload would; then the page itself reloads.
  await page.context().setOffline(true);
  await page.waitForTimeout(500);
  await page.context().setOffline(false);
  await page.keyboard.type("echo after");
  await page.keyboard.press("Enter");
  await expect(screen(page)).toContainText(/after\s*vagrant/);
  await endAll(api);
});

test("the terminal is reached from a row and by the keys of a telephone", async ({ page, api }) => {
  const { name } = (await api.get("list_vms")).find((vm) => vm.status === "running");
  await page.goto("/");
  await hydrated(page);
  await row(page, name).getByRole("button", { name: `Actions for ${name}` }).click();
  await page.getByRole("link", { name: "Terminal", exact: true }).click();
  await expect(screen(page)).toContainText(prompt);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.keyboard.type("yes");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Ctrl" }).click();
  await expect(page.getByRole("button", { name: "Ctrl" })).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.type("c");
  await expect(screen(page)).toContainText(/\^C\s*vagrant/);
  await page.getByRole("button", { name: "~", exact: true }).click();
  await expect(screen(page)).toContainText(/\$\s*~/);
  const { id } = (await api.get("list_vms")).find((vm) => vm.name === name);
  await fitsInEachLook(page, "terminal", `/vms/${id}/terminal`);
  await endAll(api);
});
