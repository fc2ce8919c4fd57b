// Everything the pack adds to the page. Each widget stands in a file of its own; what a front-end does not offer is
// left out, and its own still previews and players go on as they are.
import { app } from "../../scripts/app.js";
import { cameraMove } from "./camera_move.js";
import { clipPlayer } from "./clip_player.js";
import { reportText } from "./report_text.js";
import { samplingPreview } from "./sampling_preview.js";
import { sweepAxis } from "./sweep_axis.js";
import { sweepMenu } from "./sweep_menu.js";
import { sweepTab } from "./sweep_tab.js";

const PARTS = [cameraMove, clipPlayer, reportText, samplingPreview, sweepAxis, sweepMenu, sweepTab];
for (const extension of PARTS) app.registerExtension(extension);
