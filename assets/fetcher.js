// Fetches on a thread of its own, for `apart.js`: the answer's way through the browser is none of the page's work.

onmessage = async ({ data: [id, address, accept, longestMillis] }) => {
  try {
    const answer = await fetch(address, { headers: { accept }, signal: AbortSignal.timeout(longestMillis) });
    const body = await answer.arrayBuffer();
    postMessage([id, answer.status, body], [body]);
  } catch {
    postMessage([id, 0]);
  }
};
