// A server of GraphQL subscriptions: graphql-ws.mjs MODULES PORT TOKENS
//
// MODULES is where npm has put graphql-ws, graphql and ws. A login needs a token that names a file in the directory
// TOKENS. `subscription { tick }` counts, `{ hello }` greets. Once logged in, a client is sent the protocol's own ping
// each 300 ms, and each of its pongs is a line on stdout. Who hasn't begun to log in within 500 ms is closed (4408).
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const [modules, port, tokens] = process.argv.slice(2);
const require = createRequire(join(modules, "from.js"));
const { GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } = require("graphql");
const { useServer } = require("graphql-ws/use/ws");
const { WebSocketServer } = require("ws");

async function* ticks() {
  for (let tick = 1; ; tick++) {
    yield { tick };
    await delay(100);
  }
}

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: "Query",
    fields: { hello: { type: GraphQLString, resolve: () => "hello, wsfan" } },
  }),
  subscription: new GraphQLObjectType({
    name: "Subscription",
    fields: { tick: { type: GraphQLInt, subscribe: ticks } },
  }),
});

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), path: "/graphql" });
useServer(
  {
    schema,
    connectionInitWaitTimeout: 500,
    onConnect({ connectionParams, extra: { socket } }) {
      const token = connectionParams?.token;
      console.log(`login with ${token}`);
      if (!/^\w+$/.test(token ?? "") || !existsSync(join(tokens, token))) return false; // closed: 4403
      const pings = setInterval(() => socket.send('{"type":"ping"}'), 300);
      socket.on("close", () => clearInterval(pings));
      socket.on("message", (data) => {
        const { type } = JSON.parse(data);
        if (type === "ping" || type === "pong") console.log(`heard ${type}`);
      });
      return true;
    },
  },
  server,
);
