// What can be requested of a VM, from its launch to its end.

import { confirm, destroy, expect, hydrated, openTab, row, status, submit, throughEverything, withFleet } from "../fixtures.mjs";

const VMS = 5;

const test = withFleet({ name: "operations", vms: VMS });

test("a launch form with nonsense says what is wrong with each field", async ({ page, problems }) => {
  problems.allow(/status of 400/);
  await page.goto("/vms/new");
  await hydrated(page);
  const nonsense = { name: "-db-", ram_mb: "1", cpu_cores: "99", disk_gb: "99999" };
  for (const [name, value] of Object.entries(nonsense)) {
    await page.locator(`[name=${name}]`).fill(value);
  }
  await page.getByRole("button", { name: /launch/i }).click();
  for (const name of Object.keys(nonsense)) {
    await expect(page.locator(`[name=${name}]`)).toHaveAttribute("aria-invalid", "true");
    await expect(page.locator(`[name=${name}]`)).toHaveAccessibleDescription(/\w+ \w+/);
  }
  await expect(page).toHaveURL("/vms/new");
});

test("a VM is launched, stopped, started and destroyed", async ({ page }) => {
  const name = "end-to-end";
  await page.goto("/vms/new");
  await hydrated(page);
  const quota = page.getByTestId("quota");
  await expect(quota).toContainText(/VMs\s*0 of/);
  await page.locator("[name=name]").fill(name);
  await page.getByRole("button", { name: /launch/i }).click();
  await expect(page).toHaveURL(/\/vms\/\d+$/);
  // It takes 8 s at least, of which a busy machine spends some on loading the page.
  await expect(status(page)).toHaveText(/pending/i);
  await expect(page.locator("main")).toContainText(/launching/i);
  await expect(quota).toContainText(/VMs\s*1 of/);
  await expect(status(page)).toHaveText(/running/i);

  await page.getByRole("button", { name: /^stop/i }).click();
  await expect(status(page)).toHaveText(/stopped/i);
  await expect(page.getByTestId("events")).toContainText(/requested a stop/);
  await page.getByRole("button", { name: /^start/i }).click();
  await expect(status(page)).toHaveText(/running/i);

  await openTab(page, "Settings");
  await page.getByTestId("destroy").click();
  await page.locator("[name=confirm_name]").fill(name);
  await submit(page, "confirm_name");
  await expect(page).toHaveURL("/");
  await expect(row(page, name)).toHaveCount(0);
  await expect(page.locator("[data-vm]")).toHaveCount(VMS);
  await expect(quota).toContainText(/VMs\s*0 of/);
});

test("a VM goes through every operation", async ({ page, api }) => {
  test.slow();
  await page.goto("/vms/new");
  await hydrated(page);
  await page.locator("[name=name]").fill("all-of-it");
  await page.locator("select[name=image]").selectOption("alpine-3.23");
  await page.locator("[name=ram_mb]").fill("512");
  await expect(page.getByTestId("price")).toContainText("17 credits");
  await page.locator("[name=ram_mb]").fill("1024");
  await expect(page.getByTestId("price")).toContainText("22 credits");
  await page.getByLabel("Memory, by slider").press("ArrowRight");
  await expect(page.locator("[name=ram_mb]")).toHaveValue("1152");
  const preview = page.getByTestId("preview");
  await preview.locator("summary").click();
  await expect(preview).toContainText("libvirt.memory = 1152");
  await page.locator("[name=ram_mb]").fill("1024");
  await expect(preview).toContainText("libvirt.memory = 1024");
  await page.getByRole("button", { name: /launch/i }).click();
  await expect(page.getByTestId("progress")).toContainText(/launching/i);
  await expect(status(page)).toHaveText(/running/i, { timeout: 60_000 });
  await throughEverything(page, { timeout: 60_000 });

  const schedule = page.getByTestId("schedule");
  const autoStart = schedule.getByRole("switch", { name: "Start with the server" });
  await expect(autoStart).not.toBeChecked();
  await autoStart.click();
  await expect(autoStart).toBeChecked();
  await expect(page.getByTestId("stop-at")).toHaveText("No shutdown scheduled.");
  await schedule.locator("form:has(#stop-hours)").getByRole("button", { name: "Schedule" }).click();
  await expect(page.getByTestId("stop-at")).toContainText("Shuts down at");
  await schedule.getByRole("button", { name: "Cancel shutdown" }).click();
  await expect(page.getByTestId("stop-at")).toHaveText("No shutdown scheduled.");
  const later = new Date(Date.now() + 86_400_000);
  const local = new Date(later - later.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  await schedule.getByLabel("Shut down at").fill(local);
  await schedule.locator("form:has(#stop-time)").getByRole("button", { name: "Schedule" }).click();
  const planned = page.getByTestId("stop-at").getByRole("time");
  await expect(planned).toHaveAttribute("datetime", `${later.toISOString().slice(0, 16)}:00Z`);
  await page.getByTestId("vagrantfile").locator("summary").first().click();
  await expect(page.getByTestId("vagrantfile")).toContainText("libvirt.memory = 256");
  await openTab(page, "Activity");
  const launched = page.getByTestId("operations").getByRole("listitem").last();
  await expect(launched.getByTestId("output")).toHaveCount(0);
  await launched.getByRole("link").click();
  await expect(launched.getByTestId("output")).toContainText("Machine booted and ready!");
  await page.getByTestId("more").click();
  await confirm(page, "Power off…", "all-of-it");
  await page.getByRole("dialog").getByRole("button", { name: "Power off", exact: true }).click();
  await expect(status(page)).toHaveText(/stopped/i);
  await page.close();
  await destroy(api, "all-of-it");
});

test("a launch is cancelled and leaves no machine", async ({ page }) => {
  await page.goto("/vms/new");
  await hydrated(page);
  await page.locator("[name=name]").fill("changed-my-mind");
  await page.getByRole("button", { name: /launch/i }).click();
  await page.getByTestId("cancel").click();
  await expect(status(page)).toHaveText(/not created/i);
  await openTab(page, "Activity");
  await expect(page.getByTestId("operations")).toContainText("cancelled");
  await page.goto("/admin");
  await hydrated(page);
  const orphan = page.getByTestId("orphans").getByRole("listitem").filter({ hasText: "changed-my-mind" });
  await confirm(orphan, "Clean up…", "user1-changed-my-mind");
  await orphan.getByRole("button", { name: "Delete permanently" }).click();
  await expect(page.getByTestId("orphans")).toContainText("None found.");
});
