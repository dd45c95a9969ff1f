// @ts-nocheck: runs in a browser, whose types the project does not load
/* global CSS, history, location */
const byId = id => document.getElementById(id)
const status = byId('status')

/** What is known of each device, by the public id of its session. Only a demonstration keeps tokens where scripts can read them. */
const devices = new Map(JSON.parse(sessionStorage.getItem('devices') ?? '[]'))
const answers = JSON.parse(sessionStorage.getItem('answers') ?? '[]')
const save = () => sessionStorage.setItem('devices', JSON.stringify([...devices]))

/** Who this browser is, as far as the server says. */
let browser

/** The tokens of the clients that the server made when it started. */
let tokens

function say (text, isBad = false) {
  status.textContent = text
  status.classList.toggle('bad', isBad)
}

/**
 * Asks the server, and returns what it said. `token` asks as another device, without the cookie of this browser. A `body` is
 * sent as JSON, a `text` as it is.
 */
async function call (method, path, { token, body, text, quietly = false, ...given } = {}) {
  const headers = { accept: 'application/json', ...given.headers }
  if (token) headers['x-session-token'] = token
  if (body) headers['content-type'] = 'application/json'
  const credentials = token || text ? 'omit' : 'same-origin'
  const response = await fetch(path, { method, headers, body: text ?? (body && JSON.stringify(body)), credentials })
  const answer = await response.text()
  const value = answer === '' ? undefined : JSON.parse(answer)
  const answered = { asked: `${method} ${path}`, sent: text, code: response.status, reason: response.statusText, answer: value }
  if (!quietly) record(answered)
  return { ok: response.ok, code: response.status, value, answered }
}

/** Secrets are shown by their first letters only. */
const veiled = text => text.replace(/(ory_(?:st|lo)_)[\w-]+/g, '$1…').replace(/(eyJ)[\w-]+\.[\w-]+\.[\w-]+/g, '$1…')

/** A body that was sent, where a signed token stands for its claims. */
const withClaims = text => text.replace(/eyJ[\w-]+\.([\w-]+)\.[\w-]+/, (_, claims) => {
  return JSON.stringify(JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/'))), null, 2)
})

/** Adds a line to the answers, the latest first. They are kept for when the user leaves the page and comes back. */
function record ({ asked, sent = '', code, reason = '', answer }, after = '') {
  const shown = {
    asked: veiled(asked),
    sent: veiled(withClaims(sent)),
    code,
    reason,
    answer: answer === undefined ? '' : veiled(JSON.stringify(answer, null, 2)),
    after
  }
  answers.push(shown)
  sessionStorage.setItem('answers', JSON.stringify(answers.slice(-20)))
  showAnswer(shown)
}

function showAnswer ({ asked, sent, code, reason, answer, after }) {
  const row = byId('answer-row').content.cloneNode(true)
  const set = (selector, text) => { row.querySelector(selector).textContent = text }
  set('.call code', asked)
  set('.code', `${code} ${reason}`)
  row.querySelector('.code').classList.toggle('bad', code >= 400)
  row.querySelector('.code').classList.toggle('on', code >= 300 && code < 400)
  set('.after', after)
  set('.answer', answer)
  set('.sent', sent)
  byId('answers').prepend(row)
  byId('silence').hidden = true
}

/** The session of this browser or of a token, and the tokens of the clients. A route of the demonstration's own: it is never a 401. */
const sessionOf = async token => (await call('GET', '/demo/session', { token, quietly: true })).value

/** Asks, without a line in the log, which sessions are live, and shows it. */
async function refresh () {
  const { session, clients } = await sessionOf()
  browser = session
  tokens = clients
  for (const [id, device] of devices) if (device.name === 'This browser' && id !== browser?.id) device.live = false
  if (browser) {
    learn(browser, 'This browser')
    const others = await call('GET', '/sessions', { quietly: true })
    for (const session of others.value) learn(session)
    for (const [id, device] of devices) {
      if (device.subject === browser.identity.id) device.live = id === browser.id || others.value.some(session => session.id === id)
    }
  }
  // Without its token and without its user here, nothing can be said of a device.
  for (const [id, { subject, token, name }] of devices) if (!token && name !== 'This browser' && subject !== browser?.identity.id) devices.delete(id)
  for (const device of devices.values()) {
    if (device.token && device.subject !== browser?.identity.id) device.live = Boolean((await sessionOf(device.token)).session)
  }
  save()
  show()
}

function learn ({ id, identity, devices: [{ user_agent: name } = {}] = [], issued_at: since }, known = name) {
  const label = known === 'This browser' && id !== browser.id ? 'Another browser' : known
  devices.set(id, { ...devices.get(id), subject: identity.id, who: identity.traits.name, name: label ?? 'A device', since, live: true })
}

function show () {
  const list = byId('devices')
  for (const row of list.children) if (!devices.has(row.dataset.id)) row.remove()
  for (const [id, device] of devices) showDevice(list, id, device)
  const live = [...devices.values()].some(device => device.live)
  byId('empty').hidden = devices.size > 0
  byId('everybody').hidden = !browser
  byId('browser-logout').hidden = !browser
  byId('provider').hidden = byId('clients').hidden = false
  document.title = `${browser ? browser.identity.traits.name : 'Nobody'} · fastify-logout`
  if (status.textContent === '') say(browser ? `This browser is signed in as ${browser.identity.traits.name}.` : live ? 'This browser is signed out; other devices are not.' : 'Sign in to begin.')
}

/** Why a device is in the list that was not signed in on this page. */
const origin = (name, since) => Date.parse(since) <= tokens.startedAt
  ? 'The server signed it in when it started, for the curl lines in its terminal.'
  : name === 'Another browser' ? 'It signed in on this page elsewhere.' : 'It was signed in from elsewhere.'

function showDevice (list, id, { name, who, since, live, token }) {
  let row = list.querySelector(`[data-id="${CSS.escape(id)}"]`)
  if (!row) {
    row = byId('device-row').content.firstElementChild.cloneNode(true)
    row.dataset.id = id
    list.append(row)
  }
  const label = `${name}, ${who}`
  const set = (selector, text) => { row.querySelector(selector).textContent = text }
  set('h3', name)
  const time = new Date(since).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  // The page has a token of every device that was signed in here.
  set('.about', token || name === 'This browser' ? `${who}, since ${time}` : `${who}, since ${time}. ${origin(name, since)}`)
  set('.state', live ? 'Signed in' : 'Logged out')
  row.classList.toggle('over', !live)

  const focused = document.activeElement
  const usable = Boolean(token) || name === 'This browser'
  for (const [selector, text, shown] of [['.use', 'Use it', usable], ['.log-out', 'Log out', live], ['.forget', 'Remove', !live]]) {
    const button = row.querySelector(selector)
    button.hidden = !shown
    button.setAttribute('aria-label', `${text}: ${label}`)
  }
  // A button that vanishes under the finger hands the focus to its neighbour.
  if (row.contains(focused) && focused.hidden) row.querySelector('button:not([hidden])').focus()
}

async function signIn (user, device) {
  const { ok, value } = await call('POST', '/demo/sign-in', { body: { user: user.value, device: device.value } })
  if (!ok) return say('The server did not let us in.', true)
  const who = user.selectedOptions[0].text
  if (device.value === 'This browser') {
    for (const [id, known] of devices) if (known.name === 'This browser') devices.delete(id)
  } else {
    devices.set(value.id, { subject: user.value, who, name: device.value, since: new Date().toISOString(), live: true, token: value.token })
  }
  await refresh()
  say(`${device.value} is signed in as ${who}.`)
}

/** Makes an ordinary call as the device. After its logout the answer is 401. */
async function use ({ name, token }) {
  const { ok } = await call('GET', '/sessions/whoami', { token })
  await refresh()
  say(ok ? `${name} is signed in: its call was answered.` : `${name} is logged out: its call was refused.`, !ok)
}

/** Logs out of this browser's session, the user's other ones, or all of them: of `sessionLogout`. */
const logOutScope = scope => call('POST', '/logout', { body: { scope } })

async function logOut (id, { name, subject, token }) {
  if (id === browser?.id) await logOutScope('current')
  else if (subject === browser?.identity.id) await call('DELETE', `/sessions/${id}`)
  else await call('DELETE', '/self-service/logout/api', { body: { session_token: token } })
  await refresh()
  say(devices.get(id).live ? `${name} could not be logged out.` : `${name} is logged out.`, devices.get(id).live)
}

const logOutOthers = async () => {
  const { ok } = await logOutScope('others')
  await refresh()
  say(ok ? 'The other devices are logged out.' : 'This browser is not signed in.', !ok)
}

const logOutEverywhere = async () => {
  const who = browser.identity.traits.name
  await logOutScope('all')
  await refresh()
  byId('devices-heading').focus()
  say(browser ? `${who} could not be logged out.` : `${who} is logged out everywhere.`, Boolean(browser))
}

/** Leaves the page by the logout URL that the server gave, as a link would. The server decides where to. */
async function leave ({ ok, value }) {
  if (!ok) {
    await refresh()
    return say(`${value.error.reason ?? 'The logout was refused.'} ${browser ? 'You are still signed in.' : ''}`, true)
  }
  const { pathname, search } = new URL(value.logout_url)
  location.assign(pathname + search)
}

const leaveKratos = async target => leave(await call('GET', `/self-service/logout/browser?return_to=${encodeURIComponent(target)}`))

/** Logs out here, and goes to the provider, which sends the browser back. */
const leaveProvider = async target => leave(await call('POST', '/logout/provider', { body: { return_to: target } }))

/** Signs Bob in on a television, ends that session by a request, and asks whether it has ended. */
async function endTelevision (end) {
  for (const [id, { name, subject, live }] of devices) if (name === 'Television' && subject === 'bob' && !live) devices.delete(id)
  const { value: { id, token } } = await call('POST', '/demo/sign-in', { body: { user: 'bob', device: 'Television' }, quietly: true })
  devices.set(id, { subject: 'bob', who: 'Bob Brown', name: 'Television', since: new Date().toISOString(), live: true, token })
  const answered = await end(token)
  const { ok, code } = await call('GET', '/sessions/whoami', { token, quietly: true })
  record(answered, `Then GET /sessions/whoami: ${code}, the session ${ok ? 'is live' : 'has ended'}.`)
  await refresh()
  say(ok ? 'Bob’s television is still signed in.' : 'Bob’s television is logged out.', ok)
}

/** What the provider sends when a login is over. The server signs it, and this page sends it, so that it can be seen. */
const messageOf = async (kind, token) => (await call('POST', `/demo/provider/${kind}`, { token, quietly: true })).value
const sendMessage = kind => endTelevision(async token => {
  const { method, url, headers, body } = await messageOf(kind, token)
  return (await call(method, url, { headers, text: body, quietly: true })).answered
})

/** Loads the front-channel URL in a frame, as a page of the provider does. */
const loadFrame = () => endTelevision(async token => {
  const { url } = await messageOf('front-channel', token)
  const frame = document.createElement('iframe')
  frame.title = 'Front-channel logout'
  frame.hidden = true
  frame.src = url
  document.body.append(frame)
  await new Promise(resolve => frame.addEventListener('load', resolve, { once: true }))
  frame.remove()
  const { responseStatus } = performance.getEntriesByName(frame.src).at(-1) ?? {}
  return { asked: `GET ${url}`, sent: 'in a frame', code: responseStatus ?? 'loaded' }
})

/** An app that logs out gives its token back. */
const giveBack = () => endTelevision(async token => (await call('POST', '/oauth/revoke', {
  headers: { 'content-type': 'application/x-www-form-urlencoded' }, text: `token=${token}&client_id=demo-app`, quietly: true
})).answered)

/** The flows that others than this browser use: clients with tokens, and the identity provider. */
const clients = {
  'back-channel': () => sendMessage('back-channel'),
  'front-channel': loadFrame,
  'security-event': () => sendMessage('security-event'),
  'global-token-revocation': () => sendMessage('global-token-revocation'),
  'give-back': giveBack,
  signinghub: async () => {
    const { ok } = await call('POST', '/v3/logout', {
      headers: { authorization: `Bearer ${tokens.signingHub}` }, body: { device_token: 'alice-phone' }
    })
    say(ok ? 'Alice’s application is logged out, and its push token is forgotten.' : 'SigningHub: the logout failed.', !ok)
  },
  'tenant-log-out': async () => {
    const { ok } = await call('GET', '/auth/logout', { headers: { 'x-tenant-token': tokens.tenant, 'x-token': tokens.tenantUser } })
    say(ok ? 'Alice of Acme is logged_out, until she uses her token.' : 'Tenant status: the logout failed.', !ok)
  },
  'tenant-use': async () => {
    const { ok } = await call('GET', '/me', { headers: { 'x-token': tokens.tenantUser } })
    say(ok ? 'The token was used: Alice of Acme is logged_in again.' : 'Tenant status: the call failed.', !ok)
  },
  admin: async () => {
    const { ok } = await call('DELETE', '/admin/identities/bob/sessions', { headers: { authorization: `Bearer ${tokens.admin}` } })
    await refresh()
    say(ok ? 'Every session of Bob Brown is over.' : 'The administrator was refused.', !ok)
  }
}

/** One thing at a time; what goes wrong on the way is said. */
let busy = Promise.resolve()
function doing (work) {
  busy = busy.then(work).catch(() => say('The server does not answer.', true))
}

byId('sign-in').addEventListener('submit', event => {
  event.preventDefault()
  doing(() => signIn(byId('user'), byId('device')))
})
for (const [id, work] of Object.entries(clients)) byId(id).addEventListener('click', () => doing(work))
byId('leave').addEventListener('click', () => doing(() => leaveKratos(byId('return-to').value)))
byId('leave-provider').addEventListener('click', () => doing(() => leaveProvider(byId('return-to').value)))
byId('others').addEventListener('click', () => doing(logOutOthers))
byId('everywhere').addEventListener('click', () => doing(logOutEverywhere))
byId('devices').addEventListener('click', ({ target }) => {
  const id = target.closest('li')?.dataset.id
  if (target.matches('.use')) doing(() => use(devices.get(id)))
  if (target.matches('.log-out')) doing(() => logOut(id, devices.get(id)))
  if (target.matches('.forget')) {
    doing(() => {
      const { name } = devices.get(id)
      devices.delete(id)
      save()
      show()
      byId('devices-heading').focus()
      say(`${name} is removed from this page.`)
    })
  }
})

for (const answer of answers) showAnswer(answer)
byId('return-to').value = '/goodbye'
const problem = new URLSearchParams(location.search).get('error')
if (problem) {
  say(`The logout was refused: ${problem}.`, true)
  history.replaceState(null, '', '/')
}
doing(refresh)
byId('sign-in').firstElementChild.disabled = false
