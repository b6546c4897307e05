// A page in a browser of its own that nobody looks over the shoulder: Playwright has the browser report every request and
// script of a page, which is work on the very thread that is measured. Controlled through a pipe, only on request.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ANSWER_MS = 30_000;

/** Opens `url` with these cookies, as Playwright keeps them. Gives `evaluate(expression)`, `busySecs()` and `close()`. */
export async function openPlainly({ executable, url, cookies, width, height }) {
  const profile = await mkdtemp(join(tmpdir(), "twarga-plain-"));
  const args = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--remote-debugging-pipe", `--user-data-dir=${profile}`, `--window-size=${width},${height}`, "about:blank",
  ];
  const child = spawn(executable, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const [, , , to, from] = child.stdio;

  const waiting = new Map();
  let rest = "";
  from.setEncoding("utf8");
  from.on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const message of messages.map((message) => JSON.parse(message))) {
      waiting.get(message.id)?.(message);
      waiting.delete(message.id);
    }
  });
  let count = 0;
  async function send(method, params = {}, sessionId = undefined) {
    const id = ++count;
    to.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { error, result } = await new Promise((answer, fail) => {
      const late = setTimeout(() => fail(new Error(`${method} was not answered`)), ANSWER_MS);
      waiting.set(id, (message) => {
        clearTimeout(late);
        answer(message);
      });
    });
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async function close() {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    process.off("exit", killAtExit);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    const { targetInfos } = await send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    for (const { name, value, domain, path, httpOnly } of cookies) {
      await send("Network.setCookie", { name, value, domain, path, httpOnly }, sessionId);
    }
    // The thread's own time: what else the machine does meanwhile does not count.
    await send("Performance.enable", { timeDomain: "threadTicks" }, sessionId);
    await send("Page.navigate", { url }, sessionId);
    return {
      close,
      async evaluate(expression) {
        const params = { expression, returnByValue: true };
        const { result, exceptionDetails } = await send("Runtime.evaluate", params, sessionId);
        if (exceptionDetails) throw new Error(exceptionDetails.text);
        return result.value;
      },
      /** What the main thread has worked since the page began, seconds. */
      async busySecs() {
        const { metrics } = await send("Performance.getMetrics", {}, sessionId);
        return metrics.find(({ name }) => name === "TaskDuration").value;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
