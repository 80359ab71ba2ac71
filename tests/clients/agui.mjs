// AG-UI's clients, told by JSON lines on standard input what to do: see tests/surfaces/agui/front.py. Run in .clients/node.
//
// A line {n, do, ...} is answered by {n, ok} or {n, wrong}; what a client's subscriber is given while it runs comes before
// that as {n, event}. Whatever a client writes to the console is told with the run in which it did, as `warned`.
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";
import { format } from "node:util";
import * as today from "@ag-ui/client";
import * as before from "agui-old";
import { from, lastValueFrom, toArray } from "rxjs";

const write = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

const doing = new AsyncLocalStorage();
for (const level of ["log", "info", "warn", "error"]) {
  console[level] = (...said) => {
    const text = `${level}: ${format(...said)}`;
    doing.getStore()?.warned.push(text);
    process.stderr.write(`${text}\n`);
  };
}

// A connection that is cut off rejects promises that the clients have let go of. What matters of it they tell themselves.
process.on("unhandledRejection", (error) => process.stderr.write(`unhandled: ${error}\n`));

// The clients leave `connect` to whoever knows the server's address for it.
const connecting = (sdk) =>
  class extends sdk.HttpAgent {
    connect(input) {
      this.abortController = new AbortController();
      const request = () => this.fetch(`${this.url}/connect`, this.requestInit(input));
      return sdk.transformHttpEventStream(sdk.runHttpRequest(request), this.debugLogger);
    }
  };
const classes = { "1.0": connecting(today), "0.x": connecting(before) };
const agents = new Map();

const going = async ({ n, agent, parameters, do: what }) => {
  const one = agents.get(agent);
  const { warned } = doing.getStore();
  let pending = [];
  const subscriber = {
    onEvent: ({ event }) => write({ n, event }),
    onRunFinishedEvent: (finished) => {
      pending = finished.pendingToolCallIds ?? [];
    },
  };
  let done = { result: null, newMessages: [] };
  let error = null;
  try {
    done = await (what === "run" ? one.runAgent(parameters, subscriber) : one.connectAgent(parameters, subscriber));
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
  }
  return {
    result: done.result ?? null,
    newMessages: done.newMessages,
    error,
    warned,
    messages: one.messages,
    state: one.state ?? null,
    pendingInterrupts: one.pendingInterrupts ?? [],
    pendingToolCallIds: pending,
  };
};

const commands = {
  create: ({ agent, version, given }) => void agents.set(agent, new classes[version](given)),
  addMessage: ({ agent, message }) => agents.get(agent).addMessage(message),
  setMessages: ({ agent, messages }) => agents.get(agent).setMessages(messages),
  setState: ({ agent, state }) => agents.get(agent).setState(state),
  // As a page does that learns elsewhere that its questions are answered: the client would run no more before it is.
  forget: ({ agent }) => {
    agents.get(agent).pendingInterrupts = [];
  },
  detach: ({ agent }) => agents.get(agent).detachActiveRun(),
  abort: ({ agent }) => agents.get(agent).abortRun(),
  run: going,
  connect: going,
  // The client's own check of what comes in, with the protocol's schemas: it throws at what is malformed, and warns of
  // each thing that the schemas do not know, which here is as wrong.
  validate: async ({ events }) => {
    const wrong = [];
    for (const event of events) {
      const { warned } = doing.getStore();
      warned.length = 0;
      try {
        await lastValueFrom(from([event]).pipe(today.enforceEvents(), toArray()));
      } catch (error) {
        warned.push(error.message);
      }
      wrong.push(...warned.map((text) => `${event.type}: ${text}`));
    }
    return wrong;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  doing.run({ warned: [] }, async () => {
    try {
      write({ n: told.n, ok: (await commands[told.do](told)) ?? null });
    } catch (error) {
      write({ n: told.n, wrong: error.stack });
    }
  });
}
process.exit(0);
