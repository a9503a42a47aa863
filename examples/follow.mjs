#!/usr/bin/env node
// Follows a topic: goes on where it was, hears of what it missed, and asks anew then. Needs no package.
//
//     follow.mjs SOCKET TOPIC REQUEST NAME
//     follow.mjs /run/wsfan/wsfan.sock btc.trades '{"method":"price","of":"btc"}' board
//
// NAME is that under which wsfan itself keeps the place, for an hour unless it is configured otherwise (names.keep).

import net from "node:net";
import readline from "node:readline";

const [path, topic, request, name] = process.argv.slice(2);
if (!name) {
  console.error("follow.mjs SOCKET TOPIC REQUEST NAME");
  process.exit(2);
}

function follow() {
  let id = 0, attached = false;
  const socket = net.connect(path);
  const say = (op, fields) => socket.write(JSON.stringify({ op, id: ++id, ...fields }) + "\n");
  const ask = () => say("request", { json: JSON.parse(request) });

  // a program of this name that hangs has to go
  socket.on("connect", () => say("attach", { name, takeover: true, topics: [topic] }));
  socket.on("error", (error) => console.error("wsfan is away:", error.message));
  socket.on("close", () => setTimeout(follow, 1000)); // a restart of wsfan is soon over

  const lines = readline.createInterface({ input: socket });
  lines.on("error", () => {}); // it says again what the socket has said
  lines.on("line", (text) => {
    const line = JSON.parse(text);
    if (!attached) {
      if (line.type === "error") {
        console.error(line.message);
        process.exit(1);
      }
      attached = line.result === "attached"; // entries before it belong to the place before
      if (attached) {
        // nothing was kept under the name: the first time, or wsfan has begun a new log
        if (line.new) console.log("new");
        say("subscribe", { topics: [topic] });
        ask();
      }
      return;
    }
    switch (line.type) {
      case "message":
      case "answer":
        console.log(line.type, JSON.stringify(line.json ?? line.text ?? null));
        break;
      case "gap":
        console.log("gap", line.count ?? null, line.why);
        ask();
        break;
      case "link":
        // what the server said while the link was down is lost; topics come back by themselves
        if (line.state === "up") ask();
        break;
      case "error":
      case "bye":
        console.log(line.type, line.code ?? line.why);
        break;
    }
    // worked off: under its name it goes on after this entry. Without an id, nothing is answered
    if (line.seq && line.type !== "ok") say("ack", { id: undefined, seq: line.seq });
  });
}

follow();
