// What requests cost, and what the pages cost in a browser, measured: `make bench` runs it last, and
// `node end2end/bench.mjs` alone, on the release build with its release site. Prints the results and adds them to
// target/bench.json. `node end2end/bench.mjs requests` measures one part alone; the others are `load`, `interactions`,
// `polls` and `heap`.
//
// vm_metrics_rps       GET /api/metrics/vm/{id} a second, of a fleet of 20 VMs, over 16 connections
// vm_metrics_p99_ms    the time that 99 of 100 of these take at most
// vm_history_rps, vm_history_p99_ms       the same of /api/metrics/vm/{id}/history?limit=100
// vms_rps, vms_p99_ms  the same of GET /api/vms
// vms_p99_sign_ins_ms  the same p99 at 200 requests a second, while 16 sign-ins run at once
// lcp_ms, cls          of the overview with 20 VMs, nothing cached; the median of several loads
// interaction_ms       the slowest of some interactions, to the next paint, with the processor slowed down 4 times
// poll_N_kb            one poll of the overview with N VMs, as it comes over the wire, headers and all; the median
// poll_N_main_ms       what the main thread does in one interval, the poll and the drawing of it; the mean, less what it
//                      does in as much time while the page requests nothing; in a browser without Playwright
// heap_growth_hour_mb  of the overview with 20 VMs over the 720 polls of an hour, one a second: objects of the script
//                      and the memory of the wasm, each after a garbage collection

import { chromium } from "@playwright/test";
import autocannon from "autocannon";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { openPlainly } from "./plain.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
// Named before it is loaded: it starts the debug build otherwise.
process.env.TWARGA_BINARY ??= resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "release/twarga-cloud");
const { startServer } = await import("./server.mjs");

const EXECUTABLE = existsSync("/usr/bin/chromium") ? "/usr/bin/chromium" : chromium.executablePath();

const BENCH = join(ROOT, "target/bench.json");
const USER = { username: "ada", email: "ada@example.org", password: "correct horse battery" };
const LOADS = 7;
// A minute, in which the lines of rows are drawn twice.
const POLLS = 12;
const INTERVAL_MS = 5_000;
const REST_INTERVALS = 4;
// Until the browser has compiled what runs with every poll.
const WARM_UP_INTERVALS = 8;
const HOUR_OF_POLLS = 720;
const WARM_UP_POLLS = 30;
const POLL = /\/api\/v1\/metrics_since/;

// As many of each as the history below returns.
const HISTORY_LENGTH = 100;
const CONNECTIONS = 16;
const LOAD_SECS = Number(process.env.TWARGA_BENCH_SECS ?? 10);
const SIGN_INS_AT_ONCE = 16;
const STEADY_RPS = 200;

const results = {};

function report(name, value, unit, what) {
  results[name] = { value: Math.round(value * 1000) / 1000, unit };
  console.log(`${name.padEnd(24)} ${value.toFixed(2).padStart(9)} ${unit.padEnd(6)} ${what}`);
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** A server with a simulated fleet and a signed-in user; ended when `work` is. */
async function withFleet(vms, intervalSecs, work) {
  const args = ["--provider", "simulated", "--simulated-vms", String(vms), "--collect-every", String(intervalSecs)];
  const server = await startServer({ name: `bench-${vms}`, args });
  const browser = await chromium.launch({
    executablePath: EXECUTABLE,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--js-flags=--expose-gc"],
  });
  try {
    const headers = { origin: server.url, accept: "application/json" };
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const reply = await context.request.post(`${server.url}/api/v1/register`, { form: { ...USER, setup_code: server.setupCode }, headers });
    if (!reply.ok()) throw new Error(`nobody could sign in: ${await reply.text()}`);
    const state = await context.storageState();
    await context.close();
    const open = () => browser.newContext({ viewport: { width: 1280, height: 900 }, storageState: state });
    await work({ url: server.url, open });
  } finally {
    await browser.close();
    await server.stop();
  }
}

/** The overview once it is alive and has polled. */
async function overview({ url, open }, prepare = async () => {}) {
  const context = await open();
  const page = await context.newPage();
  await prepare(page);
  const devtools = await context.newCDPSession(page);
  await devtools.send("Performance.enable");
  const polled = page.waitForResponse((response) => POLL.test(response.url()), { timeout: 60_000 });
  await page.goto(url);
  await polled;
  return { context, page, devtools };
}

async function load(fleet) {
  const paints = [];
  const shifts = [];
  for (let i = 0; i < LOADS; i++) {
    const context = await fleet.open();
    const page = await context.newPage();
    await page.addInitScript(() => {
      globalThis.seen = { lcp: 0, cls: 0 };
      const watch = (type, take) =>
        new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true });
      watch("largest-contentful-paint", (entry) => (globalThis.seen.lcp = entry.startTime));
      watch("layout-shift", (entry) => (globalThis.seen.cls += entry.hadRecentInput ? 0 : entry.value));
    });
    const polled = page.waitForResponse((response) => POLL.test(response.url()), { timeout: 60_000 });
    await page.goto(fleet.url);
    await polled;
    await sleep(500);
    const { lcp, cls } = await page.evaluate(() => globalThis.seen);
    paints.push(lcp);
    shifts.push(cls);
    await context.close();
  }
  report("lcp_ms", median(paints), "ms", "largest contentful paint of the overview, 20 VMs, nothing cached");
  report("cls", Math.max(...shifts), "", "cumulative layout shift, the worst load");
}

async function interactions(fleet) {
  const { context, page, devtools } = await overview(fleet);
  await page.evaluate(() => {
    globalThis.events = [];
    const take = (list) =>
      globalThis.events.push(...list.getEntries().map((e) => [e.name, e.duration, e.interactionId]));
    new PerformanceObserver(take).observe({ type: "event", durationThreshold: 16, buffered: false });
  });
  // By place, as a hand does: looking for the element in the page would be measured, too.
  const press = async (locator) => {
    const { x, y, width, height } = await locator.boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    await sleep(700);
    await page.mouse.click(x + width / 2, y + height / 2);
  };
  const acts = {
    "sorted by CPU": () => press(page.getByRole("link", { name: /^CPU/ }).first()),
    "palette opened": () => page.keyboard.press("Control+k"),
    "first letter": () => page.keyboard.press("w"),
    "second letter": () => page.keyboard.press("e"),
    "palette closed": () => page.keyboard.press("Escape"),
    "bell opened": () => press(page.getByTestId("alert-bell")),
    "bell closed": () => page.keyboard.press("Escape"),
    "VM chosen": () => press(page.getByRole("checkbox").first()),
  };
  let worst = ["none", 0];
  const durations = [];
  for (const round of ["", " again"]) {
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: 4 });
    for (const [name, act] of Object.entries(acts)) {
      await page.evaluate(() => (globalThis.events.length = 0));
      await act();
      await sleep(900);
      // Those that count for "interaction to next paint": presses and keys, not what a pointer passes over.
      const events = await page.evaluate(() => globalThis.events);
      const millis = Math.max(0, ...events.filter(([, , id]) => id > 0).map(([, duration]) => duration));
      durations.push(`${name}${round} ${millis}`);
      if (millis > worst[1]) worst = [name + round, millis];
    }
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: 1 });
  }
  console.log(`interactions, ms: ${durations.join(", ")}`);
  report("interaction_ms", worst[1], "ms", `the slowest interaction with a processor 4 times slower: ${worst[0]}`);
  await context.close();
}

async function polls(fleet, vms) {
  const { context, page: watched } = await overview(fleet);
  const cookies = await context.cookies();
  const sizes = [];
  watched.on("requestfinished", async (request) => {
    if (!POLL.test(request.url())) return;
    const { responseHeadersSize, responseBodySize } = await request.sizes();
    sizes.push(responseHeadersSize + responseBodySize);
  });
  const deadline = Date.now() + (POLLS + 4) * INTERVAL_MS;
  while (sizes.length < POLLS && Date.now() < deadline) await sleep(200);
  await context.close();
  report(`poll_${vms}_kb`, median(sizes) / 1024, "kB", `a poll of the overview with ${vms} VMs, over the wire`);

  const page = await openPlainly({ executable: EXECUTABLE, url: fleet.url, cookies, width: 1280, height: 987 });
  try {
    const count = () => page.evaluate(`performance.getEntriesByType("resource").filter(({ name }) => ${POLL}.test(name)).length`);
    await sleep(WARM_UP_INTERVALS * INTERVAL_MS);
    const [busyBefore, countBefore] = [await page.busySecs(), await count()];
    await sleep(POLLS * INTERVAL_MS);
    const polled = (await count()) - countBefore;
    const busyMs = (1000 * ((await page.busySecs()) - busyBefore)) / polled;
    if (polled < POLLS - 1) throw new Error(`only ${polled} polls came`);
    // A page that takes itself for hidden does not poll.
    await page.evaluate(`
      Object.defineProperty(document, "visibilityState", { value: "hidden" });
      document.dispatchEvent(new Event("visibilitychange"));
    `);
    await sleep(INTERVAL_MS + 1_000);
    const [restBefore, atRest] = [await page.busySecs(), await count()];
    await sleep(REST_INTERVALS * INTERVAL_MS);
    const restMs = (1000 * ((await page.busySecs()) - restBefore)) / REST_INTERVALS;
    if ((await count()) > atRest) throw new Error("the page polls though it is hidden");
    const what = `the main thread's work for it: ${busyMs.toFixed(1)} ms in an interval with it, ${restMs.toFixed(1)} ms in one without`;
    report(`poll_${vms}_main_ms`, busyMs - restMs, "ms", what);
  } finally {
    await page.close();
  }
}

async function heapMb({ page, devtools }) {
  await devtools.send("HeapProfiler.collectGarbage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  const script = metrics.find(({ name }) => name === "JSHeapUsedSize").value;
  const wasm = await page.evaluate(() => globalThis.wasmMemory.buffer.byteLength);
  return (script + wasm) / 1024 / 1024;
}

async function heap(fleet) {
  const opened = await overview(fleet, (page) =>
    page.addInitScript(() => {
      const instantiate = WebAssembly.instantiateStreaming;
      WebAssembly.instantiateStreaming = async (...given) => {
        const made = await instantiate(...given);
        globalThis.wasmMemory ??= made.instance.exports.memory;
        return made;
      };
    }),
  );
  const { context, page } = opened;
  let count = 0;
  page.on("response", (response) => POLL.test(response.url()) && count++);
  const wait = async (polls) => {
    const deadline = Date.now() + polls * 2_000;
    const until = count + polls;
    while (count < until && Date.now() < deadline) await sleep(100);
    if (count < until) throw new Error(`only ${count} of ${until} polls came`);
  };
  await wait(WARM_UP_POLLS);
  const before = await heapMb(opened);
  await wait(HOUR_OF_POLLS);
  const after = await heapMb(opened);
  const what = `from ${before.toFixed(1)} to ${after.toFixed(1)} MB over an hour's ${HOUR_OF_POLLS} polls`;
  report("heap_growth_hour_mb", after - before, "MB", what);
  await context.close();
}

/** Requests one path over several connections, as fast as the server answers or `rate` times a second. */
async function request(url, headers, rate) {
  const paced = rate ? { overallRate: rate } : {};
  const result = await autocannon({ url, headers, connections: CONNECTIONS, duration: LOAD_SECS, ...paced });
  const failed = result.errors + result.timeouts + result.non2xx;
  if (failed > 0 || result["2xx"] === 0) throw new Error(`${url}: ${failed} of ${result.requests.total} failed`);
  return { rps: result["2xx"] / result.duration, p99: result.latency.p99 };
}

async function requests() {
  const args = ["--provider", "simulated", "--simulated-vms", "20", "--collect-every", "1", "--registration", "open"];
  const server = await startServer({ name: "bench-requests", args });
  try {
    const post = (path, form, headers) =>
      fetch(`${server.url}${path}`, { method: "POST", headers, body: new URLSearchParams(form) });
    const json = { "content-type": "application/json" };
    const { username, password } = USER;
    const other = { username: "bob", email: "bob@example.org", password };
    for (const user of [USER, other]) {
      const body = JSON.stringify({ ...user, setup_code: server.setupCode });
      const made = await fetch(`${server.url}/api/auth/register`, { method: "POST", headers: json, body });
      if (!made.ok) throw new Error(`no account: ${await made.text()}`);
    }
    const signedIn = await post("/api/auth/login", { username, password });
    const headers = { authorization: `Bearer ${(await signedIn.json()).access_token}` };
    const get = async (path) => (await fetch(`${server.url}${path}`, { headers })).json();

    const deadline = Date.now() + 3 * 60_000;
    let vm;
    let history = "";
    for (let count = 0; count < HISTORY_LENGTH; ) {
      if (Date.now() > deadline) throw new Error("the fleet has no history");
      await sleep(1_000);
      [vm] = await get("/api/vms");
      if (!vm) continue;
      history = `/api/metrics/vm/${vm.id}/history?metric_name=vm_cpu_percent&limit=${HISTORY_LENGTH}`;
      count = (await get(history)).count;
    }
    const measured = async (name, path) => {
      const { rps, p99 } = await request(`${server.url}${path}`, headers);
      report(`${name}_rps`, rps, "1/s", `GET ${path}, ${CONNECTIONS} connections`);
      report(`${name}_p99_ms`, p99, "ms", "of these, the slowest of 99 %");
    };
    await measured("vm_metrics", `/api/metrics/vm/${vm.id}`);
    await measured("vm_history", history);
    await measured("vms", "/api/vms");

    let ending = false;
    let signIns = 0;
    const signInAgain = async () => {
      while (!ending) {
        const reply = await post("/api/auth/login", { username: other.username, password });
        await reply.arrayBuffer();
        if (reply.ok) signIns++;
      }
    };
    const signingIn = Array.from({ length: SIGN_INS_AT_ONCE }, signInAgain);
    const { p99 } = await request(`${server.url}/api/vms`, headers, STEADY_RPS).finally(() => {
      ending = true;
      return Promise.all(signingIn);
    });
    const what = `GET /api/vms, ${STEADY_RPS} a second beside ${signIns} sign-ins, ${SIGN_INS_AT_ONCE} at once`;
    report("vms_p99_sign_ins_ms", p99, "ms", what);
  } finally {
    await server.stop();
  }
}

const parts = process.argv.slice(2);
const wanted = (part) => parts.length === 0 || parts.includes(part);

if (wanted("requests")) await requests();
if (["load", "interactions", "polls"].some(wanted)) {
  await withFleet(20, 5, async (fleet) => {
    if (wanted("load")) await load(fleet);
    if (wanted("interactions")) await interactions(fleet);
    if (wanted("polls")) await polls(fleet, 20);
  });
}
if (wanted("polls")) await withFleet(200, 5, (fleet) => polls(fleet, 200));
if (wanted("heap")) await withFleet(20, 1, heap);

const known = existsSync(BENCH) ? JSON.parse(await readFile(BENCH, "utf8")) : {};
await writeFile(BENCH, `${JSON.stringify({ ...known, ...results }, null, 2)}\n`);
console.log("added to target/bench.json");
