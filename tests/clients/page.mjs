// A walk through the page of examples/agui: node page.mjs FOLDER PAGE SERVER [BROWSER], run in .clients/node.
//
// FOLDER has the page with its script bundled, PAGE is its address. With the path of a Chromium it is opened in that; without,
// its script runs here, over a document without a browser.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, address, server, browser] = process.argv.slice(2);
const PATIENCE_MS = 60_000;

// --- what is done in the page: each of these is one function of one value, to be run there -----------------------------------

const shows = (wanted) =>
  new Promise((resolve) => {
    const observer = new MutationObserver(() => look());
    const look = () => {
      if (!document.body.textContent.includes(wanted)) return;
      observer.disconnect();
      resolve();
    };
    observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
    look();
  });
const click = (label) => {
  const found = [...document.querySelectorAll("button")].find((button) => button.textContent === label);
  if (!found) throw new Error(`no button ${label} in: ${document.body.textContent}`);
  found.click();
};
const fill = ([selector, value]) => {
  document.querySelector(selector).value = value;
};
const text = () => document.body.textContent;
const where = () => location.href;

// --- where it is done ----------------------------------------------------------------------------------------------------------

async function inDocument() {
  const { Window } = await import("happy-dom");
  let opened = 0;
  let window;
  const open = async (url) => {
    window?.happyDOM.abort();
    window = new Window({ url, settings: { disableJavaScriptFileLoading: true, disableCSSFileLoading: true } });
    window.document.write((await readFile(join(folder, "index.html"), "utf8")).replace(/<link.*?>|<script.*?<\/script>/g, ""));
    const { document, location, history, MutationObserver } = window;
    Object.assign(globalThis, { window, document, location, history, MutationObserver });
    opened += 1;
    await import(`${pathToFileURL(join(folder, "page.bundle.mjs"))}?${opened}`);
  };
  return { open, run: async (step, value) => step(value), reload: () => open(location.href), close: () => {} };
}

async function inBrowser() {
  const { chromium } = await import("playwright-core");
  const program = await chromium.launch({ executablePath: browser, args: ["--no-sandbox"] });
  const page = await program.newPage();
  page.on("pageerror", (error) => process.stderr.write(`${error.stack}\n`));
  page.on("console", (message) => process.stderr.write(`${message.type()}: ${message.text()}\n`));
  return {
    open: (url) => page.goto(url),
    run: (step, value) => page.evaluate(step, value),
    reload: () => page.reload(),
    close: () => program.close(),
  };
}

// --- the walk ------------------------------------------------------------------------------------------------------------------

const page = await (browser ? inBrowser() : inDocument());
const until = async (wanted) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(async () => reject(new Error(`no ${wanted} in: ${await page.run(text)}`)), PATIENCE_MS);
  });
  await Promise.race([page.run(shows, wanted), late]);
  clearTimeout(timer);
};

await page.open(`${address}?server=${encodeURIComponent(server)}`);
await page.run(fill, ["#text", "Paint the barn."]);
await page.run(click, "Send");
for (const shown of ["First I want to know where I am.", "I make a plan.", "→ look around", "May I look around?"]) await until(shown);
await until("Approve");
const asked = await page.run(text);

await page.reload();
await until("Paint the barn.");
await until("Approve");
const reloaded = await page.run(text);
await page.run(fill, [".question textarea", '{"command": "echo I was changed"}']);
await page.run(click, "Approve");
await until("I was changed");
await until("Say nothing"); // a button beside the question
await page.run(fill, [".question select", "Red"]);
await page.run(click, "Answer");
await until("So it is settled");
await until("✓ settle on a colour");
await until('"colour": "Red"'); // the state that it shares with the agent
const done = await page.run(text);

await page.reload();
await until("So it is settled");
await until('"colour": "Red"');
const again = await page.run(text);
const at = await page.run(where);
await page.close();
process.stdout.write(JSON.stringify({ asked, reloaded, done, again, at }));
process.exit(0);
