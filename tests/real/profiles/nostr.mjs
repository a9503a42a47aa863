// Nostr: a relay, and what signs for it.
//
// nostr.mjs MODULES relay PORT [open]   a relay that keeps its events in memory; one that isn't `open` wants a login
// nostr.mjs MODULES auth                reads {"relay":…,"challenge":…,"key":…}; prints ["AUTH",{…}], signed
// nostr.mjs MODULES note TEXT           prints ["EVENT",{…}], signed with the key in $NOSTR_KEY
//
// MODULES is where npm has put @nostr-relay/core, from which relays are built, nostr-tools and ws.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [modules, what, ...rest] = process.argv.slice(2);
const load = createRequire(join(modules, "from.js"));
const signed = (event, key) => load("nostr-tools").finalizeEvent(event, Buffer.from(key, "hex"));

if (what === "auth") {
  const { relay, challenge, key } = JSON.parse(readFileSync(0, "utf8"));
  console.log(JSON.stringify(["AUTH", signed(load("nostr-tools/nip42").makeAuthEvent(relay, challenge), key)]));
} else if (what === "note") {
  const note = { kind: 1, created_at: Math.floor(Date.now() / 1000), tags: [], content: rest[0] };
  console.log(JSON.stringify(["EVENT", signed(note, process.env.NOSTR_KEY)]));
} else {
  relay(Number(rest[0]), rest[1] === "open");
}

function relay(port, open) {
  const { EventRepository, EventUtils, MessageType } = load("@nostr-relay/common");
  const { NostrRelay } = load("@nostr-relay/core");
  const { Validator } = load("@nostr-relay/validator");

  class InMemory extends EventRepository {
    events = new Map();
    isSearchSupported() {
      return false;
    }
    upsert(event) {
      const isDuplicate = this.events.has(event.id);
      this.events.set(event.id, event);
      return { isDuplicate };
    }
    find(filter) {
      const found = [...this.events.values()].filter((event) => EventUtils.isMatchingFilter(event, filter));
      return filter.limit === undefined ? found : found.slice(-filter.limit || found.length);
    }
    async destroy() {}
  }

  const core = new NostrRelay(new InMemory(), open ? {} : { hostname: "127.0.0.1" });
  const validator = new Validator();
  // NIP-42: who hasn't logged in gets nothing
  core.register({
    handleMessage: async (client, message, next) => {
      if (open || client.pubkey || message[0] === MessageType.AUTH) return next();
      const why = "auth-required: log in first";
      if (message[0] === MessageType.REQ) client.sendMessage(["CLOSED", message[1], why]);
      if (message[0] === MessageType.EVENT) client.sendMessage(["OK", message[1].id, false, why]);
    },
  });
  const server = new (load("ws").WebSocketServer)({ host: "127.0.0.1", port });
  server.on("connection", (client, request) => {
    core.handleConnection(client, request.socket.remoteAddress);
    client.on("close", () => core.handleDisconnect(client));
    client.on("error", () => client.close());
    client.on("message", async (data) => {
      try {
        const message = await validator.validateIncomingMessage(data);
        console.log(`heard ${message[0]} ${typeof message[1] === "string" ? message[1] : ""}`);
        await core.handleMessage(client, message);
      } catch (error) {
        client.send(JSON.stringify(["NOTICE", error.message]));
      }
    });
  });
}
