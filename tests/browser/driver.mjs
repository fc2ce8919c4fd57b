// One browser page, driven over lines of JSON: {verb, ...} in, {value} or {error} out.
import { createRequire } from "node:module";
import readline from "node:readline";

const [packages, executable, width, height] = process.argv.slice(2);
const { chromium } = createRequire(packages + "/")("playwright-core");

const browser = await chromium.launch({
  executablePath: executable,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"],
});
const viewport = { width: Number(width), height: Number(height) };
const context = await browser.newContext({ viewport, acceptDownloads: false });
// Nothing outside this machine is asked for, whatever a front-end tries.
await context.route(/^https?:\/\/(?!127\.0\.0\.1[:/])/, (route) => route.abort());
const page = await context.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error.stack ?? error)));
page.on("console", (message) => {
  if (message.type() === "error") problems.push(message.text());
});

const call = (code, argument) => `(${code})(${JSON.stringify(argument ?? null)})`;

const verbs = {
  open: async ({ url }) => {
    await page.goto(url, { waitUntil: "load", timeout: 120000 });
    // On an empty profile a graph of the page's own comes later.
    await page.waitForLoadState("networkidle", { timeout: 60000 }).catch(() => {});
  },
  evaluate: ({ code, argument }) => page.evaluate(call(code, argument)),
  wait: async ({ code, argument, seconds }) => {
    const handle = await page.waitForFunction(call(code, argument), null, { timeout: seconds * 1000, polling: 100 });
    return handle.jsonValue();
  },
  screenshot: ({ path, clip }) =>
    page.screenshot({ path, clip: clip ?? undefined, animations: "allow" }).then(() => path),
  mouse: async ({ kind, x, y, steps, wheel }) => {
    if (kind === "move") await page.mouse.move(x, y, { steps: steps ?? 1 });
    else if (kind === "down") await page.mouse.down();
    else if (kind === "up") await page.mouse.up();
    else if (kind === "wheel") await page.mouse.wheel(0, wheel);
    else await page.mouse[kind](x, y);
    return null;
  },
  press: ({ key }) => page.keyboard.press(key).then(() => null),
  type: ({ text }) => page.keyboard.type(text, { delay: 15 }).then(() => null),
  click: ({ selector }) =>
    page
      .locator(selector)
      .first()
      .click({ timeout: 20000 })
      .then(() => null),
  hover: ({ selector }) =>
    page
      .locator(selector)
      .first()
      .hover({ timeout: 20000 })
      .then(() => null),
  choose_file: ({ selector, path }) => page.setInputFiles(selector, path).then(() => null),
  problems: () => problems.splice(0),
};

// Whoever asked has gone.
process.stdout.on("error", () => process.exit(1));

for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await verbs[request.verb](request)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
