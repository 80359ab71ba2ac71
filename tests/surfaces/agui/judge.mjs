// Judges streams of events as the official clients do: by their schemas, by what they make of chunks, and by their verifier.
// A line in: {"client": "new" | "old", "events": [...]}. A line out: {"at": n, "why": "..."}: the first event refused and
// why, or {"at": -1} for none. With "expand": true out come the events that these stand for, chunks made to whole ones.
// A line {"state": ..., "patch": [...]} is answered with what the clients' own library makes of the state. Run in the folder whose node_modules have them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const here = createRequire(process.cwd() + "/");
const old = createRequire(here.resolve("agui-old"));

const clients = {
  new: { client: here("@ag-ui/client"), schema: here("@ag-ui/core/schemas").EventSchema, rxjs: here("rxjs") },
  old: { client: here("agui-old"), schema: old("@ag-ui/core").EventSchemas, rxjs: old("rxjs") },
};

function judge({ client, schema, rxjs }, events) {
  const stream = new rxjs.Subject();
  let failure;
  stream.pipe(client.transformChunks(false), client.verifyEvents(false)).subscribe({ error: (error) => (failure = error) });
  for (let at = 0; at < events.length; at++) {
    const read = schema.safeParse(events[at]);
    if (!read.success) return { at, why: `schema: ${read.error.message}` };
    stream.next(read.data);
    if (failure !== undefined) return { at, why: String(failure.message) };
  }
  return { at: -1 };
}

function expand({ client, rxjs }, events) {
  const expanded = [];
  rxjs.from(events).pipe(client.transformChunks(false)).subscribe((event) => expanded.push(event));
  return expanded;
}

const { applyPatch } = here("fast-json-patch");

function answer({ client, events, expand: whole, state, patch }) {
  if (patch !== undefined) return { state: applyPatch(state, patch, true, false).newDocument };
  return (whole ? expand : judge)(clients[client], events);
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
}
