/**
 * Listens on HOST and PORT (127.0.0.1:3000), and closes gracefully on Ctrl-C.
 * @param {import('fastify').FastifyInstance} app
 * @param {(address: string) => string} greeting printed once the server listens
 */
export async function listen (app, greeting) {
  const host = process.env.HOST ?? '127.0.0.1'
  const port = Number(process.env.PORT ?? 3000)
  try {
    console.log(greeting(await app.listen({ host, port })))
  } catch (error) {
    console.error(explain(error, host, port))
    process.exitCode = 1
    return app.close()
  }
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, async () => {
      await app.close()
      process.exit(0)
    })
  }
}

/**
 * @param {any} error
 * @param {string} host
 * @param {number} port
 */
function explain (error, host, port) {
  if (error.code === 'EADDRINUSE') return `Port ${port} on ${host} is in use: choose another one, PORT=${port + 1} npm start for instance`
  if (error.code === 'ERR_SOCKET_BAD_PORT') return `PORT=${process.env.PORT} is not a port: choose one from 0 to 65535`
  return `Cannot listen on ${host}:${port}: ${error.message}`
}
