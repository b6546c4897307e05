// How a user confirms the address that their alerts are sent to.

import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { expect, fits, hydrated, inEachLook, withFleet } from "../fixtures.mjs";

const SITE = "https://cloud.example.org";

/** The lines of each mail that the server has sent. */
const mails = [];
const mailServer = createServer(async (socket) => {
  const say = (line) => socket.write(`${line}\r\n`);
  let mail;
  say("220 here");
  for await (const line of createInterface(socket)) {
    if (mail && line !== ".") mail.push(line);
    else if (mail) {
      mails.push(mail);
      mail = undefined;
      say("250 ok");
    } else if (line === "DATA") {
      mail = [];
      say("354 go on");
    } else if (line === "QUIT") {
      socket.end("221 bye\r\n");
    } else say("250 ok");
  }
});
mailServer.listen(0, "127.0.0.1");
await once(mailServer, "listening");
// It ends with the tests.
mailServer.unref();

const smtp = `smtp://127.0.0.1:${mailServer.address().port}`;
const args = ["--smtp-url", smtp, "--mail-from", "cloud@example.org", "--public-url", SITE];
const test = withFleet({ name: "mail", vms: 1, args });

async function looksRight(page, name) {
  await inEachLook(page, (look) => fits(page, name, look));
  await page.setViewportSize({ width: 1280, height: 900 });
}

test("alerts are sent to an address after its link was opened and confirmed", async ({ page, browser, problems, baseURL }) => {
  await page.goto("/account");
  await hydrated(page);
  const panel = page.getByTestId("notifications");
  await panel.getByRole("button", { name: "Turn on" }).click();
  await expect(panel).toContainText("Confirm the link sent to ada@example.org.");
  await expect(panel.getByTestId("deliveries")).toContainText("e-mail · sent", { timeout: 20_000 });
  await expect(panel.getByRole("button", { name: "Send link again" })).toBeVisible();
  await expect(panel.getByRole("button", { name: "Send test" })).toHaveCount(0);
  await looksRight(page, "unconfirmed");

  expect(mails).toHaveLength(1);
  const text = mails[0].join("\n").replaceAll("=\n", "").replaceAll("=3D", "=");
  const token = text.match(/https:\/\/cloud\.example\.org\/confirm-email#(\S+)/)[1];
  const context = await browser.newContext({ storageState: undefined, baseURL });
  const reader = await context.newPage();
  problems.watch(reader);
  await reader.goto(`/confirm-email#${token}`);
  await expect(reader.locator("[name=link]")).toHaveValue(token);
  await looksRight(reader, "confirm-email");
  await reader.getByRole("button", { name: "Confirm address" }).click();
  await expect(reader.getByRole("heading", { name: "E-mail address confirmed" })).toBeVisible();
  await looksRight(reader, "email-confirmed");
  await context.close();

  await page.reload();
  await expect(panel).toContainText("On. Alerts are sent to ada@example.org.");
  await expect(panel.getByRole("button", { name: "Send test" })).toBeVisible();
});
