// A bridge as one writes it in an afternoon: a WebSocket in, a Unix socket out, for every client.
import net from 'node:net';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const WebSocket = createRequire(process.cwd() + '/')('ws');
const [url, path] = process.argv.slice(2);
const clients = new Set();
let waiting = 0;
let upstream;

net.createServer((socket) => {
  clients.add(socket);
  readline.createInterface({ input: socket }).on('line', (line) => upstream.send(line));
  socket.on('error', () => {});
  socket.on('close', () => clients.delete(socket));
}).listen({ path, backlog: 1000 });

function connect() {
  upstream = new WebSocket(url, { perMessageDeflate: false });
  upstream.on('message', (data) => {
    const line = data.toString() + '\n';
    for (const socket of clients) {
      // the slowest sets the pace
      if (!socket.write(line) && !socket.blocked) {
        socket.blocked = true;
        if (waiting++ === 0) upstream.pause();
        socket.once('drain', () => {
          socket.blocked = false;
          if (--waiting === 0) upstream.resume();
        });
      }
    }
  });
  upstream.on('error', () => {});
  upstream.on('close', () => setTimeout(connect, 1000));
}
connect();
