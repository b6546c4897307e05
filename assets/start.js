// Hydrates the page. What changes the page before that, such as an extension or a translation, makes it fail, which the wasm
// reports by a trap. The page is then loaded again, once, and after that stays as the server rendered it, with a notice.

const FAILED_AT = "hydration-failed-at";
const IS_STATIC = "page-is-static";
const AGAIN_MILLIS = 60_000;

function notice() {
  const text = document.createElement("span");
  text.textContent =
    "No live updates: an extension or translation in this browser changes the page while it loads. Links and forms still work. ";
  const again = document.createElement("button");
  again.className = "btn";
  again.textContent = "Try again";
  again.onclick = () => {
    sessionStorage.removeItem(IS_STATIC);
    location.reload();
  };
  const banner = document.createElement("p");
  banner.className = "banner warn";
  banner.role = "status";
  banner.dataset.testid = "static";
  banner.append(text, again);
  (document.querySelector("main") ?? document.body).prepend(banner);
}

function failed(error) {
  if (!(error instanceof WebAssembly.RuntimeError)) return;
  const before = Number(sessionStorage.getItem(FAILED_AT));
  sessionStorage.setItem(FAILED_AT, Date.now());
  if (Date.now() - before < AGAIN_MILLIS) sessionStorage.setItem(IS_STATIC, "yes");
  location.reload();
}

if (sessionStorage.getItem(IS_STATIC)) {
  notice();
} else {
  addEventListener("error", ({ error }) => failed(error));
  addEventListener("unhandledrejection", ({ reason }) => failed(reason));
  await init({ module_or_path: wasm });
  hydrate();
}
