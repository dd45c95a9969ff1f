import type { Claims } from '../../token-verifier.ts'
import { isProblem, readSubject, type SubjectIdentifier, type SubjectProblem, type UnknownSubject } from './subject-identifier.ts'

/** Where else than in `sub_id` a transmitter may name the subject of an event. */
export type SubjectTolerance = 'risc-draft' | 'event-subject'

type Subject = SubjectIdentifier | UnknownSubject
type Members = Readonly<Record<string, unknown>>

/**
 * Reads the subject of an event: from `sub_id`, or from the event itself where the transmitter may do so. `undefined` if
 * there is none.
 */
export function subjectOfEvent (
  claims: Claims, event: Members, tolerate: readonly SubjectTolerance[]
): Subject | SubjectProblem | undefined {
  if (Object.hasOwn(claims, 'sub_id')) return readSubject(claims['sub_id'])
  const subject = tolerate.length > 0 && Object.hasOwn(event, 'subject') ? event['subject'] : undefined
  if (subject === undefined) return undefined
  if (typeof subject !== 'object' || subject === null || Array.isArray(subject)) return { problem: 'sub_id' }
  const members = subject as Members
  if (tolerate.includes('risc-draft') && Object.hasOwn(members, 'subject_type')) return draftSubject(members)
  if (!tolerate.includes('event-subject')) return { problem: 'sub_id' }
  return readSubject(Object.hasOwn(members, 'format') ? members : { ...members, format: 'complex' })
}

/** @see https://developers.google.com/identity/protocols/risc */
function draftSubject (members: Members): Subject | SubjectProblem {
  const type = members['subject_type']
  if (type === 'email') return readSubject({ ...members, format: 'email' })
  if (type === 'iss-sub' || type === 'iss_sub') return readSubject({ ...members, format: 'iss_sub' })
  if (type !== 'id_token_claims') return { format: 'unknown', members }
  const byId = readSubject({ ...members, format: 'iss_sub' })
  return isProblem(byId) && !Object.hasOwn(members, 'sub') ? readSubject({ ...members, format: 'email' }) : byId
}
