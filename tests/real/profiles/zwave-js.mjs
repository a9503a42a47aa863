// Z-Wave JS with its server, over a stick and a lamp that are mocked: zwave-js.mjs MODULES PORT DIRECTORY BUTTON
//
// MODULES is where npm has put zwave-js and @zwave-js/server, and DIRECTORY where the driver keeps what it knows. The
// driver is the real one: it interviews the mocked node over a serial port that is none. Each line in the named
// pipe BUTTON switches the lamp by hand.
import { createRequire } from "node:module";
import { openSync, createReadStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, port, directory, button] = process.argv.slice(2);
const from = createRequire(join(modules, "from.js"));
// what these packages have for imports alone
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { Driver } = await load("zwave-js");
const { createDefaultMockControllerBehaviors, createDefaultMockNodeBehaviors } = await load("zwave-js/Testing");
const { BinarySwitchCCReport } = await load("@zwave-js/cc");
const { CommandClasses } = await load("@zwave-js/core");
const { createAndOpenMockedZWaveSerialPort } = await load("@zwave-js/serial/mock");
const { MockController, MockNode, ccCaps, createMockZWaveRequestFrame } = await load("@zwave-js/testing");
const { ZwavejsServer } = await load("@zwave-js/server");

const { serial, port: mockPort } = await createAndOpenMockedZWaveSerialPort();
const controller = await MockController.create({ homeId: 0x7e570001, ownNodeId: 1, mockPort, serial });
controller.defineBehavior(...createDefaultMockControllerBehaviors());
const lamp = await MockNode.create({
  id: 2,
  controller,
  capabilities: {
    commandClasses: [
      CommandClasses.Version,
      ccCaps({ ccId: CommandClasses["Binary Switch"], isSupported: true, version: 1, defaultValue: false }),
    ],
  },
});
controller.addNode(lamp);
lamp.defineBehavior(...createDefaultMockNodeBehaviors());

const driver = new Driver(mockPort.factory(), {
  logConfig: { enabled: false },
  storage: { cacheDir: directory, lockDir: join(directory, "lock") },
  // several programs on one link see what one of them sets
  emitValueUpdateAfterSetValue: true,
});
driver.on("error", (error) => console.error(error));
driver.once("driver ready", async () => {
  await new Promise((done) => {
    const node = driver.controller.nodes.get(2);
    if (node.ready) done();
    else node.once("ready", done);
  });
  await new ZwavejsServer(driver, { port: Number(port), host: "127.0.0.1" }).start();
});
await driver.start();

let on = false;
// opened for both, it never ends
createInterface({ input: createReadStream("", { fd: openSync(button, "r+") }) }).on("line", () => {
  on = !on;
  const report = new BinarySwitchCCReport({ nodeId: controller.ownNodeId, currentValue: on });
  void lamp.sendToController(createMockZWaveRequestFrame(report, { ackRequested: false }));
});
