// A terminal of a VM as a custom element: `<twarga-terminal terminal-id="7">` shows the server's terminal 7, and comes
// back to it when the connection is lost. `cargo xtask site` bundles it with xterm.js; only the terminal's page loads it.
//
// The protocol is documented at `TerminalHello` in `src/model/terminal.rs`.

import { Terminal } from "@xterm/xterm";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import styles from "@xterm/xterm/css/xterm.css";

const SCROLLBACK_LINES = 10_000;
const ACK_BYTES = 64 * 1024;
const INPUT_BYTES = 32 * 1024;
const RETRY_MILLIS = [500, 1000, 2000, 4000];
const FONT_PX = { key: "twarga_terminal_font_px", normal: 14, least: 8, most: 32 };
const KEYS = {
  Escape: "\x1b", Tab: "\t", Up: "\x1b[A", Down: "\x1b[B", Right: "\x1b[C", Left: "\x1b[D",
  "|": "|", "~": "~", "/": "/",
};

const sheet = new CSSStyleSheet();
sheet.replaceSync(styles);
document.adoptedStyleSheets.push(sheet);

const nonce = document.querySelector("script[nonce]")?.nonce ?? "";

// xterm.js makes style elements while it opens, which the content security policy allows with the page's nonce only.
function openWithNonce(terminal, screen) {
  document.createElement = (tag, options) => {
    const element = Document.prototype.createElement.call(document, tag, options);
    if (tag === "style") element.nonce = nonce;
    return element;
  };
  try {
    terminal.open(screen);
  } finally {
    delete document.createElement;
  }
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("span");
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const isDark = style.colorScheme === "dark"
    || (style.colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = {
    background: colour("--sunken"), foreground: colour("--ink"), cursor: colour("--accent"),
    cursorAccent: colour("--sunken"), selectionBackground: isDark ? "#33415e" : "#c9d6fb",
    red: colour("--bad"), green: colour("--ok"), yellow: colour("--warn"), blue: colour("--accent"),
    magenta: colour("--memory"), cyan: colour("--rx"),
    black: isDark ? "#3a414d" : "#14181f", white: isDark ? "#e8ebf0" : "#68707d",
  };
  probe.remove();
  return theme;
}

class TwargaTerminal extends HTMLElement {
  static observedAttributes = ["terminal-id"];
  #shown = null;
  #isShowing = false;

  connectedCallback() {
    this.#isShowing = true;
    this.#show();
  }
  disconnectedCallback() {
    this.#isShowing = false;
    this.#hide();
  }
  // Called before the element is connected, too.
  attributeChangedCallback(name, before, after) { if (this.#isShowing && before !== after) this.#show(); }

  #show() {
    this.#hide();
    const id = this.getAttribute("terminal-id");
    if (id) this.#shown = new Shown(this, id);
  }

  #hide() {
    this.#shown?.dispose();
    this.#shown = null;
    this.replaceChildren();
  }
}

class Shown {
  #element; #id; #socket = null; #isOver = false; #offset = 0; #acknowledged = 0;
  // So many bytes are still to be written that were printed before: what answers queries in them is not input.
  #replaying = 0;
  #attempt = 0; #retry = 0; #isCtrlHeld = false;
  #stop = new AbortController();
  #encoder = new TextEncoder();

  constructor(element, id) {
    this.#element = element;
    this.#id = id;
    this.screen = document.createElement("div");
    this.screen.className = "terminal-screen";
    this.status = document.createElement("p");
    this.status.className = "terminal-status";
    this.status.setAttribute("role", "status");
    element.append(this.screen, this.status);
    this.terminal = new Terminal({
      allowProposedApi: true,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: Number(localStorage.getItem(FONT_PX.key)) || FONT_PX.normal,
      scrollback: SCROLLBACK_LINES,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      theme: colours(),
    });
    this.fit = new FitAddon();
    this.search = new SearchAddon();
    for (const addon of [this.fit, this.search, new Unicode11Addon(), new WebLinksAddon()]) {
      this.terminal.loadAddon(addon);
    }
    this.terminal.unicode.activeVersion = "11";
    openWithNonce(this.terminal, this.screen);
    this.terminal.attachCustomKeyEventHandler((event) => this.#isForTerminal(event));
    this.terminal.onData((text) => this.#type(text));
    this.terminal.onBinary((text) => this.#send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.terminal.onResize(({ cols, rows }) => this.#request({ type: "resize", columns: cols, rows }));
    this.sizes = new ResizeObserver(() => this.#refit());
    this.sizes.observe(this.screen);
    this.themes = new MutationObserver(() => this.#recolour());
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const signal = this.#stop.signal;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#recolour(), { signal });
    addEventListener("online", () => this.#connectSoon(0), { signal });
    const section = element.closest("section") ?? element;
    section.addEventListener("click", (event) => this.#onControl(event), { signal });
    section.addEventListener("keydown", (event) => this.#onFind(event), { signal });
    this.#refit();
    this.terminal.focus();
    this.#connect();
  }

  dispose() {
    this.#isOver = true;
    this.#stop.abort();
    clearTimeout(this.#retry);
    this.sizes.disconnect();
    this.themes.disconnect();
    this.#socket?.close();
    this.terminal.dispose();
  }

  async #connect() {
    clearTimeout(this.#retry);
    if (this.#isOver || this.#socket) return;
    this.#say(this.#attempt === 0 ? "Connecting…" : "The connection was lost. Reconnecting…");
    let answer;
    try {
      answer = await fetch("/api/v1/attach_terminal", {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded", accept: "application/json" },
        body: new URLSearchParams({ terminal_id: this.#id }),
      });
    } catch {
      return this.#connectSoon();
    }
    const body = await answer.json().catch(() => ({}));
    if (this.#isOver || this.#socket) return;
    if (!answer.ok) {
      const isOver = [401, 403, 404].includes(answer.status);
      return isOver ? this.#end(answer.status === 404 ? "The terminal has ended." : body.text) : this.#connectSoon();
    }
    const socket = new WebSocket(`/api/terminals/${this.#id}/socket`.replace(/^/, location.origin.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const size = { columns: this.terminal.cols, rows: this.terminal.rows };
      socket.send(JSON.stringify({ ticket: body.ticket, size, offset: this.#offset }));
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#onNotice(JSON.parse(data)) : this.#onOutput(data));
    socket.onclose = () => {
      if (this.#socket === socket) {
        this.#socket = null;
        this.#connectSoon();
      }
    };
    this.#socket = socket;
  }

  #connectSoon(millis = RETRY_MILLIS[Math.min(this.#attempt, RETRY_MILLIS.length - 1)]) {
    if (this.#isOver || this.#socket) return;
    this.#attempt += 1;
    this.#say("The connection was lost. Reconnecting…");
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), millis);
  }

  #onNotice(notice) {
    switch (notice.type) {
      case "attached":
        this.#attempt = 0;
        if (notice.is_reset && this.#offset > 0) this.terminal.reset();
        this.#offset = this.#acknowledged = notice.offset;
        this.#replaying = notice.replayed_bytes;
        return this.#say("");
      case "warning":
        return this.#say(notice.text);
      case "displaced":
        return this.#end("This terminal was opened elsewhere. Reload the page to continue here.");
      case "ended":
        return this.#end(notice.text);
    }
  }

  #onOutput(data) {
    const bytes = new Uint8Array(data);
    this.terminal.write(bytes, () => {
      this.#offset += bytes.length;
      this.#replaying = Math.max(0, this.#replaying - bytes.length);
      if (this.#offset - this.#acknowledged >= ACK_BYTES) {
        this.#acknowledged = this.#offset;
        this.#request({ type: "ack", offset: this.#offset });
      }
    });
  }

  #end(text) {
    this.#isOver = true;
    this.#socket = null;
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorBlink = false;
    this.#say(text ?? "The terminal has ended.");
    this.#element.dispatchEvent(new CustomEvent("terminal-ended", { bubbles: true, detail: this.#id }));
  }

  #type(text) {
    if (this.#replaying > 0) return;
    if (this.#isCtrlHeld && text.length === 1) {
      text = String.fromCharCode(text.toUpperCase().charCodeAt(0) & 0x1f);
      this.#holdCtrl(false);
    }
    this.#send(this.#encoder.encode(text));
    // Typing answers a warning.
    if (!this.#isOver && this.#socket?.readyState === WebSocket.OPEN) this.#say("");
  }

  #send(bytes) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += INPUT_BYTES) this.#socket.send(bytes.subarray(at, at + INPUT_BYTES));
  }

  #request(request) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(request));
  }

  // Copy and paste are the browser's, and F6 leaves the terminal, which takes every other key.
  #isForTerminal(event) {
    if (event.type !== "keydown") return true;
    const key = event.key.toLowerCase();
    if (event.key === "F6") {
      event.preventDefault();
      this.#element.closest("section")?.querySelector("[data-terminal-key], [data-terminal-do]")?.focus();
      return false;
    }
    if (!event.ctrlKey || event.altKey || event.metaKey) return true;
    if (key === "c") {
      if (!this.terminal.hasSelection()) return !event.shiftKey;
      if (event.shiftKey) {
        // The browser's own command is another one.
        event.preventDefault();
        navigator.clipboard?.writeText(this.terminal.getSelection());
      }
      setTimeout(() => this.terminal.clearSelection());
      return false;
    }
    return key !== "v";
  }

  #onControl(event) {
    const button = event.target.closest?.("[data-terminal-key], [data-terminal-do]");
    if (!button) return;
    const { terminalKey, terminalDo } = button.dataset;
    if (terminalKey === "Ctrl") {
      this.#holdCtrl(!this.#isCtrlHeld);
    } else if (terminalKey) {
      const key = KEYS[terminalKey] ?? "";
      this.#type(this.terminal.modes.applicationCursorKeysMode ? key.replace("\x1b[", "\x1bO") : key);
    }
    const px = this.terminal.options.fontSize;
    const actions = {
      larger: () => this.#setFont(px + 1),
      smaller: () => this.#setFont(px - 1),
      "full-screen": () => this.#toggleFullScreen(),
    };
    actions[terminalDo]?.();
    this.terminal.focus();
  }

  #onFind(event) {
    if (event.target.dataset.terminalFind === undefined || event.key !== "Enter") return;
    event.preventDefault();
    const text = event.target.value;
    if (event.shiftKey) this.search.findNext(text);
    else this.search.findPrevious(text);
  }

  #holdCtrl(isHeld) {
    this.#isCtrlHeld = isHeld;
    const button = this.#element.closest("section")?.querySelector("[data-terminal-key=Ctrl]");
    button?.setAttribute("aria-pressed", String(isHeld));
  }

  #setFont(px) {
    const size = Math.min(Math.max(px, FONT_PX.least), FONT_PX.most);
    this.terminal.options.fontSize = size;
    localStorage.setItem(FONT_PX.key, String(size));
    this.#refit();
  }

  #toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#element.closest("section")?.requestFullscreen?.();
  }

  #refit() {
    if (this.screen.clientWidth > 0) this.fit.fit();
  }

  #recolour() {
    this.terminal.options.theme = colours();
  }

  #say(text) {
    this.status.textContent = text;
    this.status.hidden = text === "";
  }
}

customElements.define("twarga-terminal", TwargaTerminal);

/** Copies the command beside a button. */
document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  if (!button) return;
  const command = button.closest("li").querySelector(".command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  } catch {
    // Browsers allow it over https and on the server itself only.
    getSelection().selectAllChildren(command);
  }
});
