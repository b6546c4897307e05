// Makes modules of wasm small, as `wasm-opt -Oz` does, in place: `node optimise.mjs FILE...`. One process for all of them,
// since most are small and wasm-opt takes longer to start than to optimise them.

import binaryen from "binaryen";
import { readFileSync, writeFileSync } from "node:fs";

// What rustc's wasm target and wasm-bindgen use; a module with any other feature is rejected.
const { BulkMemory, BulkMemoryOpt, CallIndirectOverlong, Multivalue, MutableGlobals, NontrappingFPToInt, ReferenceTypes, SignExt } =
  binaryen.Features;
const FEATURES =
  BulkMemory | BulkMemoryOpt | CallIndirectOverlong | Multivalue | MutableGlobals | NontrappingFPToInt | ReferenceTypes | SignExt;

binaryen.setOptimizeLevel(2);
binaryen.setShrinkLevel(2);

for (const file of process.argv.slice(2)) {
  const module = binaryen.readBinary(readFileSync(file));
  module.setFeatures(FEATURES);
  module.optimize();
  // A second time finds a little more.
  module.optimize();
  module.runPasses(["strip-producers", "strip-target-features"]);
  writeFileSync(file, module.emitBinary());
  module.dispose();
}
