// What an MCP client in TypeScript sees: `node mcp_clients.mjs PACKAGE MODE URL`, with the tokens
// in TOKENS as JSON. It writes a JSON line for each step. After the first progress of the step
// `revoked` it goes on by itself; the test that reads its lines then revokes the token.

const [which, mode, url] = process.argv.slice(2);
const tokens = JSON.parse(process.env.TOKENS);
const isFirst = which === "@modelcontextprotocol/sdk";
const { Client } = await import(isFirst ? `${which}/client/index.js` : which);
const { StreamableHTTPClientTransport } = await import(
  isFirst ? `${which}/client/streamableHttp.js` : which
);
const OPTIONS = { timeout: 60_000 };

const write = (step, seen) => console.log(JSON.stringify({ step, ...seen }));

async function connect(token) {
  const client = new Client(
    { name: "client", version: "1" },
    isFirst ? {} : { versionNegotiation: { mode } },
  );
  const headers = { authorization: `Bearer ${token.value}` };
  const send = (address, request) => {
    const fields = new Headers(request.headers);
    fields.set("authorization", `Bearer ${token.value}`);
    return fetch(address, { ...request, headers: fields });
  };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { fetch: send }));
  return client;
}

async function see(step, work) {
  try {
    write(step, await work());
  } catch (error) {
    write(step, { error: error.constructor.name, code: error.code, text: error.message });
  }
}

function call(client, name, args, onprogress) {
  const params = { name, arguments: args };
  const options = { ...OPTIONS, onprogress };
  return isFirst ? client.callTool(params, undefined, options) : client.callTool(params, options);
}

const result = (found) => ({
  isError: found.isError ?? false,
  text: found.content.map((block) => block.text).join(),
});

const narrow = await connect({ value: tokens.narrow });
await see("list", async () => {
  const found = await narrow.listTools();
  return { text: found.tools.map((tool) => tool.name).sort().join() };
});
await see("call", async () => result(await call(narrow, "add", { a: 1, b: 2 })));
await see("resumed", async () => result(await call(narrow, "test_reconnection", {})));
await see("not allowed", async () => result(await call(narrow, "test_simple_text", {})));
await see("unknown", async () => result(await call(narrow, "no_such_tool", {})));
await narrow.close();

const poor = await connect({ value: tokens.poor });
await call(poor, "add", { a: 1, b: 2 });
await see("exhausted", async () => result(await call(poor, "add", { a: 1, b: 2 })));
await poor.close();

const token = { value: tokens.first };
const revoked = await connect(token);
token.value = tokens.renewed;
await see("renewed token", async () => result(await call(revoked, "add", { a: 1, b: 2 })));
let reported = false;
const onprogress = () => {
  if (!reported) write("progress", {});
  reported = true;
};
await see("revoked", async () => result(await call(revoked, "hold", { seconds: 30 }, onprogress)));
await see("after", async () => result(await call(revoked, "add", { a: 1, b: 2 })));
token.value = tokens.narrow;
await see("other branch", async () => result(await call(revoked, "add", { a: 1, b: 2 })));
process.exit(0);
