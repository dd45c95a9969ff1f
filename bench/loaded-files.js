// Prints how many files are loaded by the import of its arguments: ES modules, and CommonJS modules with what they require.
import { createRequire, register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'

const { port1, port2 } = new MessageChannel()
const hooks = `let port
export const initialize = given => { port = given }
export const load = (url, context, next) => { port.postMessage(url); return next(url, context) }`
register(`data:text/javascript,${encodeURIComponent(hooks)}`, { data: port2, transferList: [port2] })

for (const specifier of process.argv.slice(2)) await import(specifier)
const files = new Set(Object.keys(createRequire(import.meta.url).cache))
for (let received; (received = receiveMessageOnPort(port1)) !== undefined;) {
  if (received.message.startsWith('file:')) files.add(fileURLToPath(received.message))
}
console.log(files.size)
process.exit()
