// The worker of work.py from the official TypeScript client. Run in .clients/node:  node work.mjs URL ENVIRONMENT FOLDER
import Anthropic from "@anthropic-ai/sdk";
import { EnvironmentWorker } from "@anthropic-ai/sdk/helpers/beta/environments";

const [baseURL, environmentId, workdir] = process.argv.slice(2);
const client = new Anthropic({ apiKey: "any", baseURL });
console.log("node");
await new EnvironmentWorker({ client, environmentId, environmentKey: "any", workdir, maxIdleMs: 50 }).run();
