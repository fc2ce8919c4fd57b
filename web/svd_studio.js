// Everything the pack adds to the page. Each widget stands in a file of its own; what a front-end does not offer is
// left out, and its own still previews and players go on as they are.
import { app } from "../../scripts/app.js";
import { clipPlayer } from "./clip_player.js";
import { reportText } from "./report_text.js";
import { samplingPreview } from "./sampling_preview.js";

for (const extension of [clipPlayer, reportText, samplingPreview]) app.registerExtension(extension);
