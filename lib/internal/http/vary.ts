import type { FastifyReply } from 'fastify'

/** Adds a field to `Vary`, and keeps the fields of the host. */
export function addVary (reply: FastifyReply, field: string): void {
  const given = String(reply.getHeader('vary') ?? '')
  const fields = given.split(',').map(name => name.trim().toLowerCase())
  if (!fields.includes('*') && !fields.includes(field.toLowerCase())) reply.header('vary', given === '' ? field : `${given}, ${field}`)
}
