// The walk of walk_openai.py with the official TypeScript client. Run in .clients/node:  node walk_openai.mjs URL
import OpenAI from "openai";

const client = new OpenAI({ apiKey: "any", baseURL: `${process.argv[2]}/v1`, maxRetries: 0 });
const { agents } = client.beta;
const { sessions } = agents;
const weather = {
  type: "function",
  name: "weather",
  description: "The weather somewhere.",
  parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
};
const asked = [];
const toolHandlers = {
  weather: (given) => {
    asked.push(given);
    return "Rain.";
  },
};
const made = await agents.create({ model: "gpt-test", tools: [weather] });
const agent = await agents.update(made.id, { name: "walker" });
const session = await sessions.create({
  agent_id: agent.id,
  environment: { type: "none" },
  metadata: { walk: "typescript" },
});
const listed = [];
for await (const one of sessions.list({ metadata: { walk: "typescript" } })) listed.push(one.id);
if (listed.join() !== session.id) throw new Error(`listed: ${listed}`);
const events = sessions.stream(session.id, { input: "How is it in Oslo?", toolHandlers }).withResultCollection();
const seen = [];
for await (const event of events) seen.push(event);
const said = [(await events.finalResult()).output_text];
said.push((await sessions.stream(session.id, { input: "And now?", toolHandlers }).finalResult()).output_text);
const items = [];
for await (const item of sessions.items.list(session.id, { limit: 2, order: "asc" })) items.push(item.type);
const turns = [];
for await (const turn of sessions.turns.list(session.id)) turns.push(turn.status);
const { status } = await sessions.retrieve(session.id);
await sessions.delete(session.id);
await agents.delete(agent.id);
let gone = false;
try {
  await sessions.retrieve(session.id);
} catch (error) {
  gone = error instanceof OpenAI.NotFoundError;
}
console.log(
  JSON.stringify({
    version: "node",
    streamed: seen.map((event) => [event.event_id, event.type]),
    items,
    turns,
    said,
    asked,
    status,
    gone,
  }),
);
process.exit(0);
