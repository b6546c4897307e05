// The parts of the wasm, each with all modules that it needs in one file: four bytes with the length of a list, the list
// of [name, bytes] in JSON, and the modules one behind the other. A module that several parts need is in the file of each;
// it is made use of once.

/** Where modules come from. `files` has the address of each part's file by the module that is the part's own. */
export function modulesFrom(files) {
  let asked = [];

  function serve(asked) {
    const opened = asked.filter(({ name }) => name in files).map(({ name }) => open(files[name]));
    for (const { name, give, fail } of asked) {
      const moduleIn = async (modules) => (await modules).get(name) ?? Promise.reject(new Error(`it brings no ${name}`));
      // From whichever comes first: parts that are asked for together need not wait for each other.
      Promise.any(opened.map(moduleIn)).then(give, fail);
    }
  }

  /** The bytes of a module. What a part needs is asked for in one go, the part's own module with it. */
  return (name) =>
    new Promise((give, fail) => {
      if (asked.push({ name, give, fail }) > 1) return;
      queueMicrotask(() => {
        serve(asked);
        asked = [];
      });
    });
}

async function open(file) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  const content = await answer.arrayBuffer();
  const listBytes = new DataView(content).getUint32(0, true);
  const list = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, listBytes)));
  const modules = new Map();
  let begin = 4 + listBytes;
  for (const [name, bytes] of list) {
    modules.set(name, new Uint8Array(content, begin, bytes));
    begin += bytes;
  }
  return modules;
}
