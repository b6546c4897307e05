// Makes modules of wasm small, as `wasm-opt -Oz` does: `node optimise.mjs INPUT OUTPUT [INPUT OUTPUT]...`. All of them in one
// go, since there are many, most are small, and wasm-opt takes longer to start than it has to do.

import binaryen from "binaryen";
import { readFileSync, writeFileSync } from "node:fs";

// What rustc's wasm target and wasm-bindgen use; a module with any other feature is refused.
const { BulkMemory, BulkMemoryOpt, CallIndirectOverlong, Multivalue, MutableGlobals, NontrappingFPToInt, ReferenceTypes, SignExt } =
  binaryen.Features;
const FEATURES =
  BulkMemory | BulkMemoryOpt | CallIndirectOverlong | Multivalue | MutableGlobals | NontrappingFPToInt | ReferenceTypes | SignExt;

binaryen.setOptimizeLevel(2);
binaryen.setShrinkLevel(2);

const files = process.argv.slice(2);
while (files.length) {
  const [input, output] = files.splice(0, 2);
  const module = binaryen.readBinary(readFileSync(input));
  module.setFeatures(FEATURES);
  module.optimize();
  // A second time finds a little more.
  module.optimize();
  writeFileSync(output, module.emitBinary());
  module.dispose();
}
