// Puts the page together.

import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { byId } from "./dom.js";
import { Panel } from "./panel.js";
import { Watch } from "./server.js";
import { Settings } from "./settings.js";
import { Side } from "./side.js";

new Side(byId("side"), byId("toggle-side"), byId("main"));
const settings = new Settings(() => watch.look());
const banner = new Banner(() => settings.askForKey());
const panel = new Panel();
const watch = new Watch((sight) => {
  banner.show(sight);
  panel.show(sight);
});
new Chat(settings, (error) => {
  if (error.status === 401) settings.askForKey();
  watch.look();
});
watch.look();
byId("prompt").focus({ preventScroll: true });
