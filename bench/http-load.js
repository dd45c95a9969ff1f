import { once } from 'node:events'
import { connect } from 'node:net'

const endOfHead = '\r\n\r\n'
const lastChunk = '0\r\n\r\n'

/** A request as the bytes of HTTP/1.1 on a kept-alive connection. */
export function httpRequest ({ method, path, headers = {}, body }) {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: localhost', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
  if (body !== undefined) lines.push(`content-length: ${Buffer.byteLength(body)}`)
  return `${lines.join('\r\n')}${endOfHead}${body ?? ''}`
}

/** Opens this many kept-alive connections. */
export async function openConnections (port, count) {
  return Promise.all(Array.from({ length: count }, async () => {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    await once(socket, 'connect')
    return socket
  }))
}

/**
 * Sends the requests, one at a time on each connection, as fast as they are answered.
 * Resolves the seconds it took and each request's latency in milliseconds; rejects at an answer of another status.
 */
export function sendAll (sockets, requests, status) {
  const latencies = new Float64Array(requests.length)
  const expected = `HTTP/1.1 ${status}`
  const begin = process.hrtime.bigint()
  let next = 0
  let answered = 0

  return new Promise((resolve, reject) => {
    for (const socket of sockets) drive(socket)

    function drive (socket) {
      let index = -1
      let sentAt = 0
      let received = ''

      const send = () => {
        if (next >= requests.length) return
        index = next++
        received = ''
        sentAt = performance.now()
        socket.write(requests[index], 'latin1')
      }
      socket.setEncoding('latin1')
      socket.removeAllListeners('data').removeAllListeners('close')
      socket.on('error', reject)
      socket.on('close', () => {
        if (answered < requests.length) reject(new Error(`a connection was closed after ${answered} answers`))
      })
      socket.on('data', (chunk) => {
        received += chunk
        if (!isComplete(received)) return
        if (!received.startsWith(expected)) return reject(new Error(`expected ${status}, got: ${received.slice(0, 1000)}`))
        latencies[index] = performance.now() - sentAt
        answered += 1
        if (answered === requests.length) resolve({ seconds: Number(process.hrtime.bigint() - begin) / 1e9, latencies })
        else send()
      })
      send()
    }
  })
}

function isComplete (received) {
  const head = received.indexOf(endOfHead)
  if (head < 0) return false
  const length = /\r\ncontent-length: *(\d+)/i.exec(received)
  if (length !== null && length.index < head) return received.length >= head + endOfHead.length + Number(length[1])
  return /\r\ntransfer-encoding: *chunked/i.test(received) ? received.endsWith(lastChunk) : true
}
