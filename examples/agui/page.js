// A page with one conversation. What it knows of godwit is the address; all else is AG-UI, spoken by the official client.
import { buildResumeArray, HttpAgent, randomUUID, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";
import { element, fields, field } from "./elements.js";

const options = new URLSearchParams(location.search);
const server = options.get("server") ?? "http://127.0.0.1:8000";
const name = options.get("agent") ?? "helper";

// The thread stands in the address: who reloads the page, or sends the address to somebody, comes to the same session.
const begun = location.hash !== "";
if (!begun) history.replaceState(null, "", `#${randomUUID()}`);

// The protocol leaves to each server how one follows a thread without saying anything; this one has an address for it.
class Thread extends HttpAgent {
  connect(input) {
    this.abortController = new AbortController();
    const request = () => this.fetch(`${this.url}/connect`, this.requestInit(input));
    return transformHttpEventStream(runHttpRequest(request), this.debugLogger);
  }
}

const agent = new Thread({ url: `${server}/agui/${name}`, threadId: location.hash.slice(1) });
const at = (id) => document.getElementById(id);
const responses = {};
const output = {};

function tell(text, wrong = false) {
  at("told").textContent = text;
  at("told").classList.toggle("wrong", wrong);
}

// --- what was said and done --------------------------------------------------------------------------------------------

const textOf = (content) =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? `[${part.type}]`).join("");

function toolCard(call) {
  const result = agent.messages.find((message) => message.role === "tool" && message.toolCallId === call.id);
  return element("div", { className: "card tool" }, [
    element("h3", {}, `${call.function.name} ${result ? (result.error ? "✗" : "✓") : "…"}`),
    element("pre", { className: "arguments" }, call.function.arguments),
    element("pre", { className: "result" }, result ? textOf(result.content) : (output[call.id] ?? "")),
  ]);
}

const MARKS = { completed: "✓", in_progress: "→", cancelled: "✗" };

function todos(content) {
  const items = content.todos.map((todo) => element("li", {}, `${MARKS[todo.status] ?? "·"} ${todo.content}`));
  return element("div", { className: "card" }, [element("h3", {}, "Plan"), element("ul", {}, items)]);
}

function drawn(message) {
  const inner = message.subagentRunId ? " inner" : "";
  switch (message.role) {
    case "user":
      return [element("div", { className: "message user" }, textOf(message.content))];
    case "assistant":
      return [
        ...(message.content ? [element("div", { className: `message${inner}` }, textOf(message.content))] : []),
        ...(message.toolCalls ?? []).map((call) => toolCard(call)),
      ];
    case "reasoning":
      return [
        element("details", { className: `reasoning${inner}`, open: true }, [
          element("summary", {}, "Thinking"),
          element("div", { className: "message" }, textOf(message.content)),
        ]),
      ];
    case "activity":
      return message.activityType === "godwit.todos" ? [todos(message.content)] : [];
    default: // results of tools stand in the cards of their calls
      return [];
  }
}

// Who looks at the end of the conversation goes on looking at its end.
function following(change) {
  const atEnd = window.innerHeight + window.scrollY > document.body.scrollHeight - 100;
  change();
  if (atEnd) at("end").scrollIntoView();
}

function draw() {
  following(() => at("messages").replaceChildren(...agent.messages.flatMap(drawn)));
  at("state").textContent = JSON.stringify(agent.state, null, 2);
  at("stop").hidden = !agent.isRunning;
}

// --- what it asks ------------------------------------------------------------------------------------------------------

function callOf(interrupt) {
  const calls = agent.messages.flatMap((message) => message.toolCalls ?? []);
  return calls.find((call) => call.id === interrupt.toolCallId);
}

function approval(interrupt) {
  const call = callOf(interrupt);
  const given = JSON.parse(call?.function.arguments || "{}");
  const schema = interrupt.responseSchema?.properties ?? {};
  const edited = element("textarea", { rows: 3, ariaLabel: "Arguments" });
  edited.value = JSON.stringify(given, null, 2);
  const remember = element("input", { type: "checkbox" });
  const approve = () => {
    let editedArgs;
    try {
      editedArgs = JSON.parse(edited.value);
    } catch (error) {
      tell(`These arguments are no JSON: ${error.message}`, true);
      return;
    }
    const payload = { approved: true };
    if (JSON.stringify(editedArgs) !== JSON.stringify(given)) payload.editedArgs = editedArgs;
    if (remember.checked) payload.remember = "session";
    answer(interrupt, { status: "resolved", payload });
  };
  const deny = () => answer(interrupt, { status: "resolved", payload: { approved: false, reason: "The user said no." } });
  return [
    element("h3", {}, interrupt.message ?? `May ${call?.function.name ?? "it"} run?`),
    ...(schema.editedArgs ? [edited] : []),
    ...(schema.remember ? [element("label", {}, [remember, " do not ask again for this"])] : []),
    element("div", {}, [
      element("button", { type: "button", onclick: approve }, "Approve"),
      element("button", { type: "button", onclick: deny }, "Deny"),
    ]),
  ];
}

function question(interrupt) {
  const asked = fields(interrupt.responseSchema).map(([key, schema]) => [key, field(key, schema)]);
  const send = () => {
    const payload = Object.fromEntries(asked.map(([key, one]) => [key, one.value()]).filter(([, value]) => value !== undefined));
    answer(interrupt, { status: "resolved", payload });
  };
  return [
    element("h3", {}, interrupt.message ?? "It asks"),
    ...asked.map(([, one]) => one.element),
    element("div", {}, [
      element("button", { type: "button", onclick: send }, "Answer"),
      element("button", { type: "button", onclick: () => answer(interrupt, { status: "cancelled" }) }, "Say nothing"),
    ]),
  ];
}

function drawQuestions() {
  const open = agent.isRunning ? [] : agent.pendingInterrupts.filter((interrupt) => !(interrupt.id in responses));
  const cards = open.map((interrupt) => {
    const form = interrupt.reason === "input_required" ? question(interrupt) : approval(interrupt);
    return element("div", { className: "card question" }, form);
  });
  following(() => at("questions").replaceChildren(...cards));
}

// A run goes on when all that it waits for is answered, so answers are kept until then.
function answer(interrupt, response) {
  responses[interrupt.id] = response;
  drawQuestions();
  const open = agent.pendingInterrupts;
  if (!open.every(({ id }) => id in responses)) return;
  const resume = buildResumeArray(open, Object.fromEntries(open.map(({ id }) => [id, responses[id]])));
  for (const { id } of open) delete responses[id];
  void go(() => agent.runAgent({ resume }));
}

// --- running -----------------------------------------------------------------------------------------------------------

agent.subscribe({
  onMessagesChanged: draw,
  onStateChanged: draw,
  onRunInitialized: () => {
    tell("…");
  },
  onCustomEvent: ({ event: { name, value } }) => {
    if (name !== "godwit.tool_output") return;
    output[value.toolCallId] = (output[value.toolCallId] ?? "").slice(0, value.offset) + value.text;
    draw();
  },
  onStepStartedEvent: ({ event }) => tell(event.stepName),
  onRunErrorEvent: ({ event }) => tell(event.code === "abort" ? "" : event.message, event.code !== "abort"),
  onRunFinishedEvent: ({ outcome }) => tell({ interrupt: "It waits for you.", cancelled: "Stopped." }[outcome] ?? ""),
  onRunFailed: ({ error }) => tell(error.message, true),
});

async function go(start) {
  try {
    await start();
  } catch {
    // it was told by onRunFailed
  }
  draw();
  drawQuestions();
}

at("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const content = at("text").value.trim();
  if (!content) return;
  at("text").value = "";
  // What is said while the agent works corrects it. The stream of the run is left for a new one, in which that goes on.
  if (agent.isRunning) await agent.detachActiveRun();
  agent.addMessage({ id: randomUUID(), role: "user", content });
  void go(() => agent.runAgent());
});
at("stop").addEventListener("click", () => agent.abortRun());
at("new").addEventListener("click", (event) => {
  event.preventDefault();
  history.replaceState(null, "", location.pathname + location.search);
  location.reload();
});

if (begun) void go(() => agent.connectAgent());
