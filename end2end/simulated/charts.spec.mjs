// Charts: how they grow, which time they show, what is marked on them, and the same as tables and files.

import { readFile } from "node:fs/promises";
import { appended, chart, expect, METRICS, followRunning, hydrated, inspect, openRunning, POLL_MS, press, shot, status, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "charts" });

test("four charts grow in place: the same canvas, the same chart", async ({ page, api }) => {
  await openRunning(page, api);
  const before = {};
  for (const figure of METRICS) {
    await expect(chart(page, figure).locator("canvas").first()).toBeVisible();
    before[figure] = await inspect(chart(page, figure));
  }
  for (let poll = 0; poll < 2; poll++) {
    for (const figure of METRICS) {
      await appended(page, figure, before[figure].lastPointAt);
      const now = await inspect(chart(page, figure));
      expect(now).toMatchObject({ id: before[figure].id, sameCanvas: true });
      before[figure] = now;
    }
  }
});

test("leaving a VM's page disposes of its charts", async ({ page }) => {
  await followRunning(page);
  const left = await chart(page, "cpu").locator("canvas").first()
    .evaluateHandle((canvas) => canvas.closest("[_echarts_instance_]"));
  const isAlive = () => left.evaluate((element) => globalThis.echarts.getInstanceByDom(element) !== undefined);
  expect(await isAlive()).toBe(true);
  await page.getByRole("navigation").getByRole("link", { name: /overview|machines|vms/i }).first().click();
  await expect(page.locator("[data-vm]").first()).toBeVisible();
  await expect.poll(isAlive).toBe(false);
});

test("charts show any range: a preset, one drawn across them, and back again", async ({ page, api }) => {
  await openRunning(page, api);
  const ranges = page.getByTestId("ranges");
  const address = new URL(page.url()).pathname;
  await ranges.getByRole("link", { name: "1 h", exact: true }).click();
  await expect(page).toHaveURL(`${address}?range=1h`);
  await expect(ranges.getByRole("link", { name: "1 h", exact: true })).toHaveAttribute("aria-current", "true");
  await expect(chart(page, "cpu")).toContainText(/mean \d.*max \d/);
  const canvas = chart(page, "cpu").locator("canvas").first();
  await expect.poll(() => timeAxis(canvas)).toBeCloseTo(3600, -1);

  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, box.y + box.height / 2, { steps: 4 });
  await page.mouse.up();
  await expect(page).toHaveURL(/\?from=.*&to=/);
  await expect.poll(() => timeAxis(canvas)).toBeLessThan(2000);
  await expect(page.getByTestId("custom-range")).toBeVisible();
  await ranges.getByRole("link", { name: "Zoom out" }).click();
  await expect.poll(() => timeAxis(canvas)).toBeGreaterThan(2000);
  await page.goBack();
  await page.goBack();
  await expect(page).toHaveURL(`${address}?range=1h`);
  await expect.poll(() => timeAxis(canvas)).toBeCloseTo(3600, -1);
});

test("what the charts show can be read as a table and saved as files", async ({ page, api }) => {
  const { id } = await openRunning(page, api);
  const table = page.getByTestId("chart-table");
  await table.locator("summary").click();
  await expect(table.getByRole("row").nth(1)).toContainText("%");
  await api.post("stop_after", { vm_id: id, hours: 8 });
  await press(page, "Restart");
  await expect(table.locator("td.events", { hasText: "restart" }).first()).toBeVisible({ timeout: 2 * POLL_MS });
  const marks = () => chart(page, "cpu").locator("canvas").first().evaluate((canvas) => {
    const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
    return instance.getOption().series[0].markLine.data.map((mark) => mark.name);
  });
  await expect.poll(marks).toContainEqual(expect.stringMatching(/restart/));
  // Under the pointer it says what it is about, all of it within the chart, also at its edge.
  const plot = chart(page, "cpu").locator("canvas").first();
  const pixel = () => plot.evaluate((canvas) => {
    const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
    const mark = instance.getOption().series[0].markLine.data.findLast((mark) => /restart/.test(mark.name));
    return instance.convertToPixel({ xAxisIndex: 0 }, mark.xAxis);
  });
  const words = () => plot.evaluate((canvas) => {
    const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
    const [width, height] = [instance.getWidth(), instance.getHeight()];
    const texts = instance.getZr().storage.getDisplayList(true).filter((one) => /restart/.test(one.style?.text ?? ""));
    return texts.map((text) => {
      const rect = text.getBoundingRect().clone();
      if (text.transform) rect.applyTransform(text.transform);
      return rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= width && rect.y + rect.height <= height;
    });
  });
  await expect(async () => {
    const { x, y, height } = await plot.boundingBox();
    const at = x + (await pixel());
    await page.mouse.move(at - 40, y + height / 2);
    await page.mouse.move(at, y + height / 2, { steps: 4 });
    expect(await words()).toContain(true);
    expect(await words()).not.toContain(false);
  }).toPass();
  await shot(page, "mark");
  await expect(status(page)).toHaveText(/running/i, { timeout: 30_000 });
  await page.getByTestId("export").locator("summary").click();
  for (const [name, kind] of [["CSV", /\.csv$/], ["JSON", /\.json$/]]) {
    const saved = page.waitForEvent("download");
    await page.getByTestId("export").getByRole("link", { name }).click();
    const file = await saved;
    expect(file.suggestedFilename()).toMatch(kind);
    const text = await readFile(await file.path(), "utf8");
    const rows = name === "JSON" ? JSON.parse(text) : text.trim().split("\n").slice(1);
    expect(rows.length).toBeGreaterThan(2);
  }
  const picture = page.waitForEvent("download");
  await page.getByTestId("export").getByRole("button", { name: "PNG" }).click();
  const bytes = await readFile(await (await picture).path());
  expect(bytes.subarray(1, 4).toString()).toBe("PNG");
  expect(bytes.length).toBeGreaterThan(10_000);
  await api.post("stop_after", { vm_id: id, hours: 0 });
});

test("a menu closes by a click beside it, and by Escape", async ({ page, api }) => {
  await openRunning(page, api);
  const menu = page.getByTestId("export");
  const isOpen = () => menu.evaluate((details) => details.open);
  await menu.locator("summary").click();
  expect(await isOpen()).toBe(true);
  await menu.getByRole("link", { name: "CSV" }).hover();
  await page.getByRole("heading", { level: 1 }).click();
  expect(await isOpen()).toBe(false);
  await menu.locator("summary").click();
  await page.keyboard.press("Escape");
  expect(await isOpen()).toBe(false);
  await expect(menu.locator("summary")).toBeFocused();
});

test("charts have the page's colours when they come with another page", async ({ page, api }) => {
  await openRunning(page, api);
  await expect(chart(page, "cpu").locator("canvas").first()).toBeVisible();
  await page.getByRole("link", { name: "Monitor" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Monitor" })).toBeVisible();
  const canvas = chart(page, "cpu").locator("canvas").first();
  const colours = () =>
    canvas.evaluate((canvas) => {
      const instance = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]"));
      return instance.getOption().series[0].lineStyle.color;
    });
  expect(await colours()).toMatch(/^#|rgb|oklch/);
  const table = page.getByTestId("chart-table");
  await table.locator("summary").click();
  await expect(table.getByRole("row").nth(1)).toContainText("%");
});

test("the monitor shows the host on six charts that go on", async ({ page }) => {
  await page.goto("/monitor?range=1h");
  await hydrated(page);
  for (const figure of ["cpu", "memory", "disk", "network", "swap", "load"]) {
    await expect(chart(page, figure).locator("canvas").first()).toBeVisible();
  }
  const { lastPointAt } = await inspect(chart(page, "cpu"));
  await appended(page, "cpu", lastPointAt);
  await expect(page.getByTestId("per-vm").getByRole("row")).not.toHaveCount(1);
});

/** The seconds that a chart's time axis spans. */
function timeAxis(canvas) {
  return canvas.evaluate((canvas) => {
    const [axis] = globalThis.echarts.getInstanceByDom(canvas.closest("[_echarts_instance_]")).getOption().xAxis;
    return (axis.max - axis.min) / 1000;
  });
}
