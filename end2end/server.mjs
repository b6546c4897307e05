// Starts a `twarga-cloud serve` of its own for a test file, with a data folder of its own, and leaves nothing behind.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
export const RESULTS = join(ROOT, "test-results");
export const LAB = join(ROOT, "scripts/lab");

const BINARY =
  process.env.TWARGA_BINARY ?? resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/twarga-cloud");

// The system picks a free port: servers of several workers never meet.
const ADDRESS = "127.0.0.1:0";
const START_MS = 30_000;
const STOP_MS = 20_000;

/**
 * Starts the server and waits until it answers. `lab` runs it inside the lab, with its socket outside.
 * Gives its `url`, the `setupCode` of its first account, its `dataDir`, the path of its `log` and `stop()`.
 */
export async function startServer({ name, args = [], lab = false }) {
  await mkdir(RESULTS, { recursive: true });
  const log = join(RESULTS, `server-${name}.log`);
  const dataDir = await mkdtemp(join(tmpdir(), `twarga-${name}-`));
  const serve = [BINARY, "serve", "--addr", ADDRESS, "--ssh-addr", "127.0.0.1:0", "--data-dir", dataDir, ...args];
  // scripts/lab serve becomes the server, so in both cases the child's id is the server's.
  const command = lab ? [LAB, "serve", ADDRESS, ...serve] : serve;

  const child = spawn(command[0], command.slice(1), { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const output = createWriteStream(log);
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  let said = "";
  let url;
  let setupCode;
  child.stdout.on("data", (chunk) => {
    if (url) return;
    said += chunk;
    // The data folder is new, so the next line has the code.
    setupCode = said.match(/\/setup#([a-z0-9-]+) /)?.[1];
    if (setupCode) url = said.match(/http:\/\/127\.0\.0\.1:\d+(?=\/)/)?.[0];
  });
  let failure;
  child.on("error", (error) => (failure = error));
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);

  async function stop() {
    if (child.pid && isRunning(child)) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const insist = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(insist);
    }
    process.off("exit", killAtExit);
    output.end();
    await rm(dataDir, { recursive: true, force: true });
  }

  const deadline = Date.now() + START_MS;
  while (!(url && (await answers(`${url}/health`)))) {
    if (failure || !isRunning(child) || Date.now() > deadline) {
      await stop();
      const why = failure?.message ?? (await readFile(log, "utf8")).trim().split("\n").slice(-20).join("\n");
      throw new Error(`${command.join(" ")}\ndid not come up (${log}):\n${why}`);
    }
    await new Promise((wake) => setTimeout(wake, 100));
  }
  return { url, setupCode, dataDir, log, stop };
}

const isRunning = (child) => child.exitCode === null && child.signalCode === null;

async function answers(url) {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}
