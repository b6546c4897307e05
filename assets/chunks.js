// Loads the chunks of `src/pages/mod.rs`, in place of wasm-split's own script, which fetches the 15 to 25 modules of a chunk
// one by one. In one file they are a tenth smaller in brotli. The build appends a `loader` for each chunk, and `canary`: what
// the modules of a debug build import besides, so that they fit no other build's main module.

import { initSync } from "./twarga-cloud.js";

const instances = new Map();

// The file of a chunk is its modules one after the other; `sizes` has the bytes of each, by name. A module that several
// chunks share is instantiated once.
async function load(chunk, sizes, imports) {
  const response = await fetch(new URL(`./${chunk}.bin`, import.meta.url));
  if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
  const bytes = await response.arrayBuffer();
  let end = 0;
  const modules = Object.entries(sizes).map(([name, size]) => {
    const module = new Uint8Array(bytes, end, size);
    end += size;
    if (!instances.has(name)) instances.set(name, WebAssembly.instantiate(module, imports));
    return instances.get(name);
  });
  await Promise.all(modules);
}

// What the wasm calls to have a chunk loaded; it is called back with whether that worked, and may ask again.
function loader(chunk, sizes) {
  let loading;
  return async (callback, data) => {
    const imports = { __wasm_split: { ...initSync(), ...canary } };
    let isLoaded = true;
    try {
      await (loading ??= load(chunk, sizes, imports));
    } catch (error) {
      console.error(error);
      loading = undefined;
      isLoaded = false;
    }
    imports.__wasm_split.__indirect_function_table.get(callback)(data, isLoaded);
  };
}
