// Going back, the browser restores the scroll position before the page's content is there. So this tries again until it
// is. leptos_router 0.8 does not do it: it scrolls to the top or to an anchor, and not at all on `popstate`.

const PATIENCE_MILLIS = 3000;
const STEP_MILLIS = 50;
const BY_HAND = ["wheel", "touchmove", "pointerdown", "keydown"];

/** From now on, each history entry gets its scroll position back. */
export function keepScroll() {
  const left = new Map();
  const entry = () => globalThis.navigation?.currentEntry?.key ?? location.href;
  let returning;
  const giveUp = () => {
    clearInterval(returning);
    returning = undefined;
  };
  addEventListener("scroll", () => returning ?? left.set(entry(), scrollY), { passive: true });
  for (const event of BY_HAND) addEventListener(event, giveUp, { passive: true, capture: true });
  addEventListener("popstate", () => {
    giveUp();
    const began = entry();
    const wanted = left.get(began);
    if (wanted === undefined) return;
    const end = performance.now() + PATIENCE_MILLIS;
    returning = setInterval(() => {
      if (entry() !== began) return giveUp();
      // As far as the content reaches so far: more of it may come.
      if (Math.abs(scrollY - wanted) > 1) scrollTo({ top: wanted, behavior: "instant" });
      if (performance.now() > end) giveUp();
    }, STEP_MILLIS);
  });
}
