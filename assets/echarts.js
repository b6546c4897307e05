// The part of ECharts that the pages draw with, about half of the whole. `cargo xtask site` bundles it into
// a classic script with the global `echarts`, which is what the charming crate's bindings call.
// A chart that needs another series or component adds it here.
import { connect, disconnect, dispose, getInstanceByDom, init, registerTheme, use, version } from "echarts/core";
import { LineChart } from "echarts/charts";
import { AriaComponent, GridComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, GridComponent, TooltipComponent, AriaComponent, MarkLineComponent, CanvasRenderer]);

export { connect, disconnect, dispose, getInstanceByDom, init, registerTheme, version };
