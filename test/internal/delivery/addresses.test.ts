import t from 'tap'
import { addressPolicy } from '../../../lib/internal/delivery/addresses.ts'

/** The first and the last address of each network, and some between. */
const forbidden = [
  '0.0.0.0', '0.255.255.255', '10.0.0.0', '10.255.255.255', '100.64.0.0', '100.127.255.255', '127.0.0.1', '127.255.255.255',
  '169.254.0.0', '169.254.169.254', '172.16.0.0', '172.31.255.255', '192.0.0.0', '192.0.0.255', '192.0.2.1', '192.88.99.1', '192.168.0.0',
  '192.168.255.255', '198.18.0.0', '198.19.255.255', '198.51.100.7', '203.0.113.7', '224.0.0.1', '239.255.255.255', '240.0.0.1',
  '255.255.255.255',
  '::', '::1', '::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:7f00:1', '::127.0.0.1', '64:ff9b::10.0.0.1', '64:ff9b:1::1', '100::1',
  '2001::1', '2001:1ff:ffff::1', '2001:db8::1', '2002:7f00:1::', '3fff::1', '3fff:fff:ffff::1', '4000::1', '5f00::1', 'fc00::1',
  'fdff::1', 'fe80::1', 'febf::1', 'fec0::1', 'ff02::1', '1fff:ffff::1'
]
const allowed = [
  '1.0.0.0', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0', '169.253.255.255',
  '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0', '192.0.3.0', '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0',
  '198.51.101.0', '203.0.112.255', '203.0.114.0', '223.255.255.255', '8.8.8.8',
  '2000::1', '2001:200::1', '2001:db7:ffff::1', '2001:db9::1', '2003::1', '2606:4700:4700::1111', '3ffe::1', '3fff:1000::1'
]

t.test('S13 addresses with a special use are refused, the others are allowed', async t => {
  const isAllowed = addressPolicy([], 'caller', 'option')
  for (const address of forbidden) t.equal(isAllowed(address), false, address)
  for (const address of allowed) t.equal(isAllowed(address), true, address)
})

t.test('S13 anything that is not an address is refused', async t => {
  const isAllowed = addressPolicy(['0.0.0.0/0', '::/0'], 'caller', 'option')
  for (const text of ['', 'localhost', '10.0.0', '10.0.0.1/8', '[::1]', '010.0.0.1', '1.1.1.1 ', undefined]) {
    t.equal(isAllowed(String(text)), false, String(text))
  }
})

t.test('S13 allowAddresses makes exceptions, of addresses and networks, and of nothing else', async t => {
  const isAllowed = addressPolicy(['10.0.0.0/8', '192.168.1.7', 'fd00::/8', '::1'], 'caller', 'option')
  for (const address of ['10.0.0.1', '10.255.255.255', '192.168.1.7', 'fd00::1', '::1', '8.8.8.8']) t.ok(isAllowed(address), address)
  for (const address of ['192.168.1.6', '192.168.1.8', '127.0.0.1', 'fc00::1', '::2', '169.254.169.254', '::ffff:192.168.1.6']) {
    t.notOk(isAllowed(address), address)
  }
  const everything = addressPolicy(['0.0.0.0/0'], 'caller', 'option')
  t.ok(everything('127.0.0.1'))
  t.notOk(everything('::1'), 'of the other family')
})
