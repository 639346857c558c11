// One run of the official TypeScript client against a server; prints what happened as JSON.
//
//   node client.mjs v1|v2|v2-modern stdio COMMAND ARGUMENTS...
//   node client.mjs v1|v2|v2-modern http URL
//
// The test copies this file next to a node_modules that holds both generations of the SDK.

const [generation, transportKind, ...rest] = process.argv.slice(2);

async function connect() {
  const info = { name: "typescript", version: "0" };
  const child = { command: rest[0], args: rest.slice(1), env: process.env };
  if (generation === "v1") {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const client = new Client(info);
    await client.connect(
      transportKind === "stdio" ? new StdioClientTransport(child) : new StreamableHTTPClientTransport(new URL(rest[0])),
    );
    // The first generation has a parameter for the schema of the result between parameters and options.
    return { client, call: (params, options) => client.callTool(params, undefined, options) };
  }
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const client = new Client(info, generation === "v2-modern" ? { versionNegotiation: { mode: "auto" } } : {});
  await client.connect(
    transportKind === "stdio" ? new StdioClientTransport(child) : new StreamableHTTPClientTransport(new URL(rest[0])),
  );
  return { client, call: (params, options) => client.callTool(params, options) };
}

const { client, call } = await connect();
const seen = { tools: (await client.listTools()).tools.map((tool) => tool.name) };

const deltas = [];
const answer = await call(
  { name: "chat", arguments: { prompt: "Hi" } },
  { onprogress: (progress) => deltas.push(progress.message ?? "") },
);
seen.answer = answer.content[0].text;
seen.structured = answer.structuredContent;
seen.deltas = deltas.join("");

const wrong = await call({ name: "chat", arguments: { prompt: "Hi", max_token: 1 } });
seen.typo = wrong.isError === true && wrong.content[0].text;

try {
  await call({ name: "fly", arguments: {} });
} catch (error) {
  seen.unknownTool = error.code;
}

const vectors = await call({ name: "embed", arguments: { texts: ["a", "b"] } });
seen.count = vectors.structuredContent.count;
seen.prompts = (await client.listPrompts()).prompts.length;
seen.resources = (await client.listResources()).resources.length;

// The probe never answers this prompt: first the caller gives up, then the caller's time is over.
const abort = new AbortController();
const left = call({ name: "chat", arguments: { prompt: "wait" } }, { signal: abort.signal }).catch(() => "left");
await new Promise((resolve) => setTimeout(resolve, 300));
abort.abort("enough");
seen.aborted = await left;
seen.timedOut = await call({ name: "chat", arguments: { prompt: "wait" } }, { timeout: 300 }).catch(() => "timed out");

const open = async () => {
  const listed = await call({ name: "list_models", arguments: { provider: "counter" } });
  return listed.structuredContent.models[0].id;
};
seen.openAfterwards = await open();
for (let tries = 0; seen.openAfterwards !== "counter:open-0" && tries < 20; tries += 1) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  seen.openAfterwards = await open();
}

console.log(JSON.stringify(seen));
await client.close();
process.exit(0);
