// A server of socket.io: socketio.mjs MODULES PORT
//
// MODULES is where npm has put socket.io. A login needs the token "good-token". Clients are sent the event `tick` each
// 100 ms; `echo` is acknowledged with what it brought, and after `leave` the server ends the session, but not the
// connection. Pings go out each 300 ms, and who doesn't answer within 1 s is dropped.
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, port] = process.argv.slice(2);
const { Server } = createRequire(join(modules, "from.js"))("socket.io");
const http = createRequire(import.meta.url)("node:http").createServer();
const io = new Server(http, { pingInterval: 300, pingTimeout: 1000, serveClient: false });

io.use((socket, next) => next(socket.handshake.auth.token === "good-token" ? undefined : new Error("not authorized")));
io.on("connection", (socket) => {
  let n = 0;
  const ticks = setInterval(() => socket.emit("tick", { n: ++n }), 100);
  socket.on("echo", (text, answer) => answer(text));
  socket.on("leave", () => socket.disconnect());
  socket.on("disconnect", (reason) => {
    clearInterval(ticks);
    console.log(`disconnected: ${reason}`);
  });
});
http.listen(Number(port), "127.0.0.1");
