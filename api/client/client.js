// The browser's side of Latchkey. How to use it: client.d.ts and docs/spa.md.
//
// The access token is in the memory of the tabs and nowhere else; the refresh token is in a cookie that no script sees.
// All tabs of an origin act as one: one lock keeps them from signing in, refreshing and signing out at the same time, and
// what comes of it is told to all on one channel.

const answerTimeout = 15_000 // ms: a refresh that is later than the server's grace (30 s) could end the session
const lockTimeout = 20_000 // ms: whoever has the lock for longer is asleep
const settleDelay = 100 // ms that the lock is kept for, until the news is in the other tabs
const tries = 3 // of a refresh, which can always be repeated
const rest = 5_000 // ms at most in which nobody asks again, after an answer that would be the same

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export class LatchkeyError extends Error {
  name = "LatchkeyError"
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? `The answer (${status}) is not Latchkey's`)
    this.status = status
    this.code = problem.code ?? "unknown"
    this.errors = problem.errors ?? []
    this.requestId = problem.request_id
    this.retryAfter = Number(retryAfter) || undefined
  }
}

const ended = () => new LatchkeyError(400, { code: "invalid_refresh_token", detail: "Signed out: log in again" })
const changed = () => new LatchkeyError(401, { code: "user_changed", detail: "Another user has signed in" })

// content believes Latchkey alone: what stands between answers, too, in its own way.
async function content(response) {
  const { ok, status, headers } = response
  const own = headers.get("Content-Type")?.startsWith(ok ? "application/json" : "application/problem+json")
  if (status === 204) return
  if (ok && own) return response.json()
  throw new LatchkeyError(status, (own && await response.json().catch(() => null)) || {}, headers.get("Retry-After"))
}

function originOf(url) {
  const { href, origin, protocol } = new URL(url)
  if (!/^https?:/.test(protocol) || href !== `${origin}/`) throw new TypeError(`${url} is no origin like https://auth.example.com`)
  return origin
}

// Whoever calls with a signal waits no longer than that.
function abortable(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener("abort", abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort))
  })
}

export function createClient({ baseURL = location.origin, origins = [] } = {}) {
  const home = originOf(baseURL)
  const trusted = [home, ...origins.map(originOf)]
  const name = `latchkey ${home}`
  const channel = new BroadcastChannel(name)
  const listeners = new Set()

  let userId // undefined until it is known, null if nobody is signed in
  let grant = null // { token, userId, renewAt, expiresAt }
  let refreshing = null
  let news = 0 // counts what adopt was told
  let settled
  let resting = { until: 0 } // no refresh before that, on the performance clock: error is what it would come to
  const futile = {} // by origin: no refresh because of a 401 before that
  let queue = Promise.resolve() // what this tab does alone, one after the other

  // adopt takes what an answer or another tab brought; null is the end of the session.
  function adopt(tokens, by) {
    grant = tokens && {
      token: tokens.access_token,
      userId: JSON.parse(atob(tokens.access_token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub,
      // Ahead of the end, and not all at once where many signed in together.
      renewAt: tokens.at + tokens.expires_in * (700 + 200 * Math.random()),
      expiresAt: tokens.at + tokens.expires_in * 1000,
    }
    resting = grant ? { until: 0 } : { until: performance.now() + rest, error: ended() }
    news++
    const now = grant && grant.userId
    if (now === userId) return
    userId = now
    for (const listener of listeners) {
      queueMicrotask(() => listeners.has(listener) && listener({ signedIn: now !== null, userId: now, by }))
    }
  }

  // What other tabs have told since a refresh began is newer than its answer, which is read late.
  function publish(tokens, since = news) {
    if (news !== since) return
    adopt(tokens, "this")
    channel.postMessage(tokens)
    settled = pause(settleDelay)
  }

  channel.onmessage = ({ data }) => adopt(data, "another")

  // alone runs work while no other tab, and nothing else in this one, does such work. The lock outlasts the result: the
  // next tab to hold it has heard of what came before. From a tab that the system has put to sleep it is taken away; the
  // grace of the server forgives what two then do at the same time.
  function alone(work) {
    return new Promise((resolve, reject) => {
      let begun = false
      const run = () => {
        if (!begun) queue = queue.then(() => work().then(resolve, reject)).then(() => settled)
        begun = true
        return queue
      }
      const locked = (options) => navigator.locks.request(name, options, run)
      if (!navigator.locks) run()
      else locked({ signal: AbortSignal.timeout(lockTimeout) }).catch(() => {
        if (!begun) locked({ steal: true }).catch(run)
      })
    })
  }

  const send = (path, body, token) => fetch(`${home}/api/user/${path}`, {
    method: "POST",
    credentials: "include",
    headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(answerTimeout),
  })

  async function begin(path, body, since) {
    const at = Date.now()
    const { access_token, expires_in } = await content(await send(path, body))
    publish({ access_token, expires_in, at }, since)
  }

  async function renewOnce(since) {
    if (news !== since) return // another tab was faster
    try {
      await begin("refresh", undefined, since)
    } catch (error) {
      if (news !== since) return
      // Only the server's own word ends a session: not the network's, and not that of a proxy.
      if (error.code === "invalid_refresh_token") publish(null)
      throw error
    }
  }

  async function renew() {
    const since = news
    for (let attempt = 1; ; attempt++) {
      try {
        return await alone(() => renewOnce(since))
      } catch (error) {
        const wait = 1000 * (error.retryAfter ?? attempt * (0.3 + 0.4 * Math.random()))
        if (error.status < 500 || attempt === tries || wait > rest) {
          if (error.retryAfter) resting = { until: performance.now() + Math.min(wait, rest), error }
          throw error
        }
        await pause(wait)
      }
    }
  }

  // refresh resolves when there is news. Whoever needs that at the same time shares it.
  const refresh = () => (refreshing ??= renew().finally(() => { refreshing = null }))

  async function usable(signal, caller) {
    const now = Date.now()
    if (!grant || now >= grant.expiresAt) {
      if (performance.now() < resting.until) throw resting.error
      await abortable(refresh(), signal)
    } else if (now >= grant.renewAt) {
      const old = grant
      refresh().catch(() => { old.renewAt = Date.now() + 2 * rest }) // it is still good
    }
    if (!grant) throw ended()
    // A call that one user has begun is not made in the name of the next.
    if (caller && caller !== grant.userId) throw changed()
    return grant
  }

  async function authorized(input, init) {
    const request = new Request(input instanceof Request ? input : new URL(input, home), init)
    const { origin } = new URL(request.url)
    if (!trusted.includes(origin)) {
      throw new TypeError(`The access token is not for ${request.url}: add its origin to origins`)
    }
    const again = init?.body instanceof ReadableStream ? null : request.clone()
    const used = await usable(request.signal, userId)
    request.headers.set("Authorization", `Bearer ${used.token}`)
    // "Bearer" alone is what Latchkey says of a wrong password.
    const refused = ({ status, headers }) => status === 401 && (origin !== home || headers.get("WWW-Authenticate") !== "Bearer")
    const response = await fetch(request)
    if (!refused(response) || performance.now() < futile[origin]) return response
    used.expiresAt = Date.now()
    if (!again) return response // a stream has been read, and cannot be sent twice
    response.body?.cancel().catch(() => {})
    again.headers.set("Authorization", `Bearer ${(await usable(again.signal, used.userId)).token}`)
    const answer = await fetch(again)
    if (refused(answer)) futile[origin] = performance.now() + 6 * rest // it is not the token
    return answer
  }

  const call = async (method, path, body) => content(await authorized(`/api/user/${path}`, {
    method,
    headers: body && { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(answerTimeout),
  }))
  const endOtherSessions = () => call("DELETE", "sessions")

  // A page that comes back from the browser's cache has not heard what was told in the meantime.
  addEventListener("pageshow", (event) => {
    if (event.persisted && userId !== undefined) refresh().catch(() => {})
  })

  return {
    get userId() { return userId },
    get expiresAt() { return grant && new Date(grant.expiresAt) },
    onChange(listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    register: async (username, password) => content(await send("register", { username, password })),
    login: (username, password) => alone(() => begin("login", { username, password })),
    async logout({ everywhere } = {}) {
      const caller = userId
      if (everywhere) await endOtherSessions()
      await alone(async () => {
        if (caller && userId && caller !== userId) throw changed()
        await content(await send("logout", undefined, grant?.token))
        publish(null)
      })
    },
    me: () => call("GET", "me"),
    changePassword: (current, next) => call("POST", "password", { current_password: current, new_password: next }),
    sessions: async () => (await call("GET", "sessions")).sessions,
    endSession: (id) => call("DELETE", `sessions/${encodeURIComponent(id)}`),
    endOtherSessions,
    fetch: authorized,
  }
}
