import t from 'tap'
import { survivesOddRequests } from '../openid/odd-requests.ts'

// `OPENID_REQUESTS` sends more or fewer.
const requests = Number(process.env['OPENID_REQUESTS'] ?? 100_000)

t.test(`${requests} requests to each route of a relying party`, { timeout: 1_800_000 }, t => survivesOddRequests(t, requests))
