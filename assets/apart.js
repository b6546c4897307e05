// The page's end of `fetcher.js`.

let fetcher;
let asked = 0;
const waiting = new Map();

/** What a GET comes to: its status, or 0 where there is no answer, and its body. Refusals have a body, too. */
export function fetchApart(address, accept, longestMillis) {
  fetcher ??= start();
  return new Promise((give) => {
    waiting.set(++asked, give);
    fetcher.postMessage([asked, address, accept, longestMillis]);
  });
}

function start() {
  const worker = new Worker(document.documentElement.dataset.fetcher);
  worker.onmessage = ({ data: [id, ...answer] }) => {
    waiting.get(id)(answer);
    waiting.delete(id);
  };
  // Its script did not come. The next who asks has it fetched again.
  worker.onerror = () => {
    fetcher = undefined;
    for (const give of waiting.values()) give([0]);
    waiting.clear();
  };
  return worker;
}
