import { BlockList, isIP } from 'node:net'
import { assertOption } from '../plugin/options.ts'

/** A message may not be sent to this address. */
export class ForbiddenAddressError extends Error {
  override readonly name = 'ForbiddenAddressError'
}

/** Whether messages may be sent to an IP address. */
export type IsAllowedAddress = (address: string) => boolean

/**
 * Judges IP addresses: those with a special use (private networks, this machine, link-local ones and so on) are refused, unless
 * they are in `allowed`, a list of addresses and networks (`10.0.0.0/8`).
 *
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry and https://www.iana.org/assignments/iana-ipv6-special-registry
 * @throws {TypeError} for an entry of `allowed` that is neither an address nor a network
 */
export function addressPolicy (allowed: readonly string[], caller: string, option: string): IsAllowedAddress {
  const special = { 4: networks(specialV4, caller, option), 6: networks(specialV6, caller, option) }
  const hint = 'must be a list of IP addresses and networks, such as "10.0.0.0/8"'
  assertOption(Array.isArray(allowed) && allowed.every(isNetwork), caller, option, hint)
  const of = (family: number) => networks(allowed.filter(network => isIP(split(network).address) === family), caller, option)
  const exceptions = { 4: of(4), 6: of(6) }

  return address => {
    const family = isIP(address)
    if (family !== 4 && family !== 6) return false
    const type = `ipv${family}` as const
    return exceptions[family].check(address, type) || !special[family].check(address, type)
  }
}

const specialV4 = [
  '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24',
  '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'
]

/** Everything outside of 2000::/3, so IPv4-mapped and translated addresses too; within it, what is not a host on the Internet. */
const specialV6 = ['::/3', '4000::/2', '8000::/1', '2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

function networks (list: readonly string[], caller: string, option: string): BlockList {
  const found = new BlockList()
  for (const network of list) {
    const { address, prefix } = split(network)
    found.addSubnet(address, prefix, isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
  return found
}

function isNetwork (network: unknown): boolean {
  if (typeof network !== 'string') return false
  const { address, prefix } = split(network)
  return isIP(address) !== 0 && Number.isInteger(prefix) && prefix >= 0 && prefix <= (isIP(address) === 4 ? 32 : 128)
}

function split (network: string): { readonly address: string, readonly prefix: number } {
  const [address = '', prefix, ...more] = network.split('/')
  if (more.length > 0 || prefix === '') return { address, prefix: NaN }
  return { address, prefix: prefix === undefined ? (isIP(address) === 4 ? 32 : 128) : Number(prefix) }
}
