// The walk of walk.py with the official TypeScript client. Run in .clients/node:  node walk.mjs URL
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ apiKey: "any", baseURL: process.argv[2], maxRetries: 0 });
const beta = client.beta;
const weather = {
  type: "custom",
  name: "weather",
  description: "The weather somewhere.",
  input_schema: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
};
const agent = await beta.agents.create({ name: "walker", model: "claude-test", system: "Be brief.", tools: [weather] });
const environment = await beta.environments.create({ name: "walk in TypeScript" });
const vault = await beta.vaults.create({ display_name: "Keys" });
await beta.vaults.credentials.create(vault.id, {
  auth: { type: "static_bearer", token: "hidden-token", mcp_server_url: "https://mcp.example.com/" },
});
const kept = [];
for await (const one of beta.vaults.credentials.list(vault.id)) kept.push(one);
const session = await beta.sessions.create({
  agent: agent.id,
  environment_id: environment.id,
  title: "A walk",
  vault_ids: [vault.id],
});
const stream = await beta.sessions.events.stream(session.id);
await beta.sessions.events.send(session.id, {
  events: [{ type: "user.message", content: [{ type: "text", text: "How is the weather in Oslo?" }] }],
});
const seen = [];
for await (const event of stream) {
  seen.push(event);
  if (event.type === "agent.custom_tool_use") {
    await beta.sessions.events.send(session.id, {
      events: [
        { type: "user.custom_tool_result", custom_tool_use_id: event.id, content: [{ type: "text", text: "Rain." }] },
      ],
    });
  }
  if (event.type === "session.status_idle" && event.stop_reason.type === "end_turn") break;
}
const listed = [];
for await (const event of beta.sessions.events.list(session.id)) listed.push(event);
const after = await beta.sessions.retrieve(session.id);
await beta.sessions.archive(session.id);
await beta.sessions.delete(session.id);
let gone = false;
try {
  await beta.sessions.retrieve(session.id);
} catch (error) {
  gone = error instanceof Anthropic.NotFoundError;
}
console.log(
  JSON.stringify({
    version: "node",
    streamed: seen.map((e) => [e.id, e.type]),
    listed: listed.map((e) => [e.id, e.type]),
    said: seen.filter((e) => e.type === "agent.message").map((e) => e.content.map((b) => b.text).join("")),
    asked: seen.filter((e) => e.type === "agent.custom_tool_use").map((e) => e.input),
    status: after.status,
    vaults: after.vault_ids.length === 1 && after.vault_ids[0] === vault.id,
    kept,
    gone,
  }),
);
process.exit(0);
