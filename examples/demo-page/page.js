// @ts-nocheck: runs in a browser, whose types the project does not load
/* global CSS, history, location */
const byId = id => document.getElementById(id)
const status = byId('status')

/** What is known of each device, by the public id of its session. Only a demonstration keeps tokens where scripts can read them. */
const devices = new Map(JSON.parse(sessionStorage.getItem('devices') ?? '[]'))
const save = () => sessionStorage.setItem('devices', JSON.stringify([...devices]))

/** Who this browser is, as far as the server says. */
let browser

/** The tokens of the clients that the server made when it started. */
let tokens

function say (text, isBad = false) {
  status.textContent = text
  status.classList.toggle('bad', isBad)
}

/** Asks the server and answers with what it said; `token` asks as another device, without the cookie of this browser. */
async function call (method, path, { token, body, quietly = false, ...given } = {}) {
  const headers = { accept: 'application/json', ...given.headers }
  if (token) headers['x-session-token'] = token
  if (body) headers['content-type'] = 'application/json'
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), credentials: token ? 'omit' : 'same-origin' })
  const text = await response.text()
  if (!quietly) record(method, path, response, text)
  return { ok: response.ok, code: response.status, value: text === '' ? undefined : JSON.parse(text) }
}

/** Secrets are shown by their first letters only. */
const veiled = text => text.replace(/(ory_(?:st|lo)_)[\w-]+/g, '$1…')

function record (method, path, { status: code, statusText }, text) {
  const row = byId('answer-row').content.cloneNode(true)
  row.querySelector('.call code').textContent = veiled(`${method} ${path}`)
  const shown = row.querySelector('.code')
  shown.textContent = `${code} ${statusText}`
  shown.classList.toggle('bad', code >= 400)
  shown.classList.toggle('on', code >= 300 && code < 400)
  row.querySelector('pre').textContent = veiled(text === '' ? '' : JSON.stringify(JSON.parse(text), null, 2))
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
  byId('clients').hidden = false
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

/** Leaves the page by the Kratos-style logout URL, as a link would. The server decides where to. */
const leave = async (target) => {
  const start = await call('GET', `/self-service/logout/browser?return_to=${encodeURIComponent(target)}`)
  if (!start.ok) {
    await refresh()
    return say(`${start.value.error.reason} ${browser ? 'You are still signed in.' : ''}`, true)
  }
  const { pathname, search } = new URL(start.value.logout_url)
  location.assign(pathname + search)
}

/** The flows whose clients send tokens, as such clients call them. */
const clients = {
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
byId('leave').addEventListener('click', () => doing(() => leave(byId('return-to').value)))
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

byId('return-to').value = '/goodbye'
const problem = new URLSearchParams(location.search).get('error')
if (problem) {
  say(`The logout was refused: ${problem}.`, true)
  history.replaceState(null, '', '/')
}
doing(refresh)
byId('sign-in').firstElementChild.disabled = false
