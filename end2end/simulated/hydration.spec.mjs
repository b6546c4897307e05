// The page when something else changes it before it is hydrated: it works, or says that it does not update.

import { expect, hydrated, withFleet } from "../fixtures.mjs";

const test = withFleet({ name: "hydration" });

const CHANGES = {
  "a link around a value": () => {
    const value = document.querySelector("[data-testid=cpu]");
    if (!value) return;
    const link = document.createElement("a");
    link.href = "tel:42";
    link.append(...value.childNodes);
    value.append(link);
  },
  "a translation": () => {
    const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    for (const text of found) {
      const font = document.createElement("font");
      text.replaceWith(font);
      font.append(text);
    }
  },
  "a node at the start of the body": () => document.body.prepend(document.createElement("div")),
};

/** Changes the page as soon as it is parsed: every time, or only in the first document of the tab. */
function changing(page, change, { once = false } = {}) {
  const content = `document.addEventListener("readystatechange", () => {
    if (document.readyState !== "interactive" || (${once} && sessionStorage.getItem("was-changed"))) return;
    sessionStorage.setItem("was-changed", "yes");
    (${change})();
  });`;
  return page.addInitScript({ content });
}

const notice = (page) => page.getByTestId("static");
const live = (page) => page.getByText(/^Live, every/);

for (const [name, change] of Object.entries(CHANGES)) {
  test(`${name}, in one load, costs no more than a reload`, async ({ page, problems }) => {
    problems.allow(/hydration|panicked|unreachable/i);
    await changing(page, change, { once: true });
    await page.goto("/");
    await expect(live(page)).toBeVisible({ timeout: 30_000 });
    await expect(notice(page)).toHaveCount(0);
    await page.keyboard.press("Control+k");
    await expect(page.getByTestId("palette")).toBeVisible();
  });

  test(`${name}, in every load, leaves a page that works without scripts`, async ({ page, problems }) => {
    problems.allow(/hydration|panicked|unreachable|preloaded using link preload/i);
    await changing(page, change);
    await page.goto("/");
    await expect(notice(page).or(live(page))).toBeVisible({ timeout: 30_000 });
    if (await live(page).isVisible()) return;
    await expect(live(page)).toHaveCount(0);
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Monitor" }).click();
    await expect(page).toHaveURL("/monitor");
    await expect(notice(page)).toBeVisible();
    await expect(page.getByRole("heading", { name: "Monitor" })).toBeVisible();
  });
}

test("a page is live only once data has arrived", async ({ page, problems }) => {
  problems.allow(/ERR_FAILED|Failed to fetch/);
  await page.route("**/api/v1/metrics_since*", (route) => new Promise((wake) => setTimeout(() => wake(route.abort()), 8_000)));
  await page.goto("/");
  await hydrated(page);
  await expect(page.getByTestId("link")).toContainText("Data from");
  await expect(live(page)).toHaveCount(0);
});
