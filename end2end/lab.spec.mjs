// The whole way with a real VM: launched by Vagrant in the lab, made to work, watched, stopped and destroyed.
// Needs `scripts/lab up`.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { chart, enter, expect, hydrated, inspect, METRICS, openTab, USER, row, shot, signIn, status, submit, test as base, throughEverything } from "./fixtures.mjs";
import { LAB, ROOT, startServer } from "./server.mjs";

const NAME = "walker";
const LOAD_SECS = 60;

const run = promisify(execFile);
/** What a command inside the lab prints. */
const inLab = async (...command) => (await run(LAB, ["exec", ...command], { timeout: 120_000 })).stdout;

let server;
let vmUrl;
const vmDir = () => join(server.dataDir, "vms", `user1-${NAME}`);

const test = base.extend({
  server: [
    async ({}, use) => {
      server = await startServer({ name: "lab", lab: true });
      await use(server);
      // A test that failed half-way leaves its VM; the data folder must not go before it.
      const vms = await readdir(join(server.dataDir, "vms")).catch(() => []);
      for (const vm of vms) {
        await inLab("env", "-C", join(server.dataDir, "vms", vm), "vagrant", "destroy", "--force").catch(console.error);
      }
      await server.stop();
    },
    { scope: "worker", timeout: 3 * 60_000 },
  ],
  baseURL: ({ server }, use) => use(server.url),
});

test.describe.configure({ mode: "serial" });

test("a real VM is launched from the page", async ({ page }) => {
  await enter(page, "/setup", { ...USER, setup_code: server.setupCode });
  await page.goto("/vms/new");
  await hydrated(page);
  await page.locator("[name=name]").fill(NAME);
  await page.locator("select[name=image]").selectOption("lab-tiny");
  for (const [name, value] of Object.entries({ ram_mb: "192", cpu_cores: "1", disk_gb: "1" })) {
    await page.locator(`[name=${name}]`).fill(value);
  }
  await page.getByRole("button", { name: /launch/i }).click();
  await expect(page).toHaveURL(/\/vms\/\d+$/);
  vmUrl = new URL(page.url()).pathname;
  await expect(status(page)).toHaveText(/pending/i);
  await expect(status(page)).toHaveText(/running/i, { timeout: 5 * 60_000 });
  expect(await inLab("virsh", "list", "--name")).toContain(NAME);
});

test.describe("signed in", () => {
  test.beforeEach(({ context }) => signIn(context, server.url));

  test("work inside the guest raises its CPU chart, and the end of it lowers it again", async ({ page }) => {
    await page.goto(vmUrl);
    await hydrated(page);
    for (const metric of METRICS) {
      await expect(chart(page, metric).locator("canvas").first()).toBeVisible();
    }
    const before = await inspect(chart(page, "cpu"));
    const cpu = () => latest(page, "cpu");

    const load = await startLoad();
    await expect.poll(cpu, { timeout: 45_000 }).toBeGreaterThan(50);
    await once(load, "exit");
    await expect.poll(cpu, { timeout: 60_000 }).toBeLessThan(30);

    const after = await inspect(chart(page, "cpu"));
    expect(after).toMatchObject({ id: before.id, sameCanvas: true });
    await shot(page, "lab-vm");
  });

  test("the folder, the REST path and the page show the same metrics", async ({ page, request }) => {
    const { username, password } = USER;
    const login = await request.post("/api/auth/login", { form: { username, password } });
    const { access_token: token } = await login.json();
    const id = vmUrl.split("/").at(-1);
    await page.goto(vmUrl);
    await hydrated(page);

    // All three move on every tick, so they are compared until a look falls between two ticks.
    await expect(async () => {
      const file = await vmInfo();
      const reply = await request.get(`/api/metrics/vm/${id}`, { headers: { authorization: `Bearer ${token}` } });
      const api = await reply.json();
      expect(file.last_metrics_update).toBe(api.timestamp);
      for (const metric of ["cpu_percent", "memory_percent", "disk_percent", "network_rx_mb", "network_tx_mb", "uptime_seconds"]) {
        expect(file[metric], metric).toBe(api[metric]);
      }
      expect(api.cpu_percent).not.toBeNull();
      expect(await latest(page, "cpu")).toBeCloseTo(api.cpu_percent, 1);
      expect(await latest(page, "memory")).toBeCloseTo(api.memory_percent, 1);
      expect(await latest(page, "disk")).toBeCloseTo(api.disk_percent, 1);
    }).toPass({ timeout: 60_000, intervals: [300] });
  });

  test("a terminal is a shell in the guest, which a reload comes back to and a sign-out ends", async ({ page, problems }) => {
    const screen = page.locator(".xterm-rows");
    const type = async (line) => {
      await page.keyboard.type(line);
      await page.keyboard.press("Enter");
    };
    await page.goto(`${vmUrl}/terminal`);
    await expect(screen).toContainText(/[$#]\s*$/);
    await type("echo $USER on $(uname -n) at $(tty); echo $((40 + 2)) grüße");
    await expect(screen).toContainText(/vagrant on \S+ at \/dev\/pts\/\d+\s*42 grüße/);

    await type("stty size");
    await expect(screen).toContainText(/\d+ \d+\s*\S*\s*[$#]\s*$/);
    const rowsBefore = Number((await screen.textContent()).match(/(\d+) \d+\s*\S*\s*[$#]\s*$/)[1]);
    await page.setViewportSize({ width: 1000, height: 1100 });
    await type("clear; stty size");
    await expect
      .poll(async () => Number((await screen.textContent()).match(/(\d+) \d+\s*\S*\s*[$#]\s*$/)?.[1]))
      .toBeGreaterThan(rowsBefore);

    await type("top");
    await expect(screen).toContainText(/Mem.*PID/s);
    await page.reload();
    await expect(screen).toContainText(/Mem.*PID/s);
    await page.keyboard.press("q");

    await type("cat > /tmp/pasted");
    await page.evaluate((text) => {
      const data = new DataTransfer();
      data.setData("text/plain", text);
      const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
      document.querySelector(".xterm-helper-textarea").dispatchEvent(paste);
    }, `${"0123456789".repeat(10)}\n`.repeat(100));
    await page.keyboard.press("Control+d");
    await type("clear; wc -c /tmp/pasted");
    await expect(screen).toContainText("10100 /tmp/pasted");
    await shot(page, "lab-terminal");

    problems.allow(/status of 401/);
    const headers = { origin: server.url, accept: "application/json" };
    expect((await page.context().request.post("/api/v1/sign_out", { headers })).ok()).toBe(true);
    await expect(page.locator(".terminal-status")).toHaveText("You are signed out.");
  });

  test("it goes through every operation", async ({ page }) => {
    await page.goto(vmUrl);
    await hydrated(page);
    await openTab(page, "Activity");
    await expect(page.getByTestId("output")).toContainText("Machine booted and ready!");
    await throughEverything(page, { timeout: 5 * 60_000 });
    expect(await inLab("virsh", "dominfo", `twarga-user1-${NAME}_default`)).toMatch(/Max memory: +262144 KiB/);
  });

  test("it is stopped", async ({ page }) => {
    await page.goto(vmUrl);
    await hydrated(page);
    await page.getByRole("button", { name: /^stop/i }).click();
    await expect(status(page)).toHaveText(/stopped/i, { timeout: 2 * 60_000 });
    expect(await inLab("virsh", "list", "--name")).not.toContain(NAME);
    expect((await vmInfo()).status).toBe("stopped");
  });

  test("it is destroyed and nothing of it is left", async ({ page }) => {
    await page.goto(vmUrl);
    await hydrated(page);
    await openTab(page, "Settings");
    await page.getByTestId("destroy").click();
    await page.locator("[name=confirm_name]").fill(NAME);
    await submit(page, "confirm_name");
    await expect(page).toHaveURL("/");
    // It was the only one: the overview says that there is none, once it is gone.
    await expect(page.getByTestId("empty")).toBeVisible({ timeout: 2 * 60_000 });
    await expect(row(page, NAME)).toHaveCount(0);

    expect(await inLab("virsh", "list", "--all", "--name")).not.toContain(NAME);
    expect(existsSync(vmDir())).toBe(false);
    expect(await labProcesses()).toEqual([]);
  });
});

test.describe("a machine of another project", () => {
  let project;

  test.beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), "twarga-own-"));
    await copyFile(join(ROOT, "tests/support/direct/Vagrantfile"), join(project, "Vagrantfile"));
    await inLab("env", "-C", project, "vagrant", "up");
  });

  test.afterAll(async () => {
    await inLab("env", "-C", project, "vagrant", "destroy", "--force").catch(console.error);
    await rm(project, { recursive: true });
  });

  test.beforeEach(({ context }) => signIn(context, server.url));

  test("is imported, watched from inside and taken off the list", async ({ page }) => {
    await page.goto("/vms/new");
    await page.getByTestId("adopt-instead").click();
    await expect(page).toHaveURL("/vms/adopt");
    await hydrated(page);
    const entry = page.getByRole("listitem").filter({ hasText: project });
    await entry.locator("[name=name]").fill("own-shop");
    await shot(page, "lab-adopt");
    await entry.getByRole("button", { name: "Import" }).click();
    await expect(page).toHaveURL(/\/vms\/\d+$/);
    await expect(status(page)).toHaveText(/running/i, { timeout: 60_000 });
    for (const metric of ["cpu", "memory", "disk", "network"]) {
      await expect(chart(page, metric).locator(".source")).toHaveText("guest", { timeout: 60_000 });
    }
    await shot(page, "lab-adopted");

    await expect(page.getByRole("link", { name: "Snapshots", exact: true })).toHaveCount(0);
    await openTab(page, "Settings");
    await expect(page.getByTestId("resources")).toHaveCount(0);
    await page.getByTestId("destroy").click();
    await expect(page.getByRole("dialog")).toContainText(project);
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await page.getByTestId("release").click();
    await expect(page).toHaveURL("/");
    await expect(row(page, "own-shop")).toHaveCount(0);
    expect(await inLab("env", "-C", project, "vagrant", "status")).toContain("running");
  });
});

async function vmInfo() {
  return JSON.parse(await readFile(join(vmDir(), ".vm_info"), "utf8"));
}

async function latest(page, metric) {
  return Number(await chart(page, metric).getAttribute("data-latest"));
}

/** Keeps the guest's core busy for a minute, and no longer even if nobody is left to end it. */
async function startLoad() {
  const config = join(server.dataDir, "ssh-config");
  // The server may be asking Vagrant the same just now, which answers one at a time.
  await expect(async () => {
    await writeFile(config, await inLab("env", "-C", vmDir(), "vagrant", "ssh-config"));
  }).toPass({ timeout: 60_000, intervals: [1000] });
  const work = `timeout ${LOAD_SECS} sh -c 'while :; do :; done'`;
  return spawn(LAB, ["exec", "ssh", "-F", config, "default", work], { stdio: "ignore" });
}

/** The command lines of QEMU and Vagrant processes in the lab that have to do with this suite's VMs. */
async function labProcesses() {
  const environment = (await run(LAB, ["env"])).stdout;
  const lab = environment.match(/^export TWARGA_LAB_NAME=(.+)$/m)[1];
  const pids = (await run("ip", ["netns", "pids", lab])).stdout.split("\n").filter(Boolean);
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return commands
    .map((command) => command.replaceAll("\0", " ").trim())
    .filter((command) => /^\S*(qemu|vagrant|ruby)/.test(command) && command.includes(NAME));
}
