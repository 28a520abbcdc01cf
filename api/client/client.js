// The browser's side of Latchkey. How to use it: client.d.ts and docs/spa.md.
//
// The access token is in the memory of the tabs and nowhere else; the refresh token is in a cookie that no script sees.
// All tabs of an origin act as one: one lock keeps them from signing in, refreshing and signing out at the same time, and
// what comes of it is told to all on one channel.

const timeout = 15_000 // ms for an answer: a refresh that is later than the server's grace (30 s) could end the session
const patience = 20_000 // ms for the lock: longer than a tab that is awake keeps it
const spreading = 100 // ms that the lock is kept for, until the news is in the other tabs
const tries = 3 // of a refresh, which can always be repeated

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export class LatchkeyError extends Error {
  name = "LatchkeyError"
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? `The server answered ${status}`)
    this.status = status
    this.code = problem.code ?? "unknown"
    this.errors = problem.errors ?? []
    this.requestId = problem.request_id
    this.retryAfter = Number(retryAfter) || undefined
  }
}

const ended = () => new LatchkeyError(400, { code: "invalid_refresh_token", detail: "Signed out: log in again" })

async function content(response) {
  if (response.ok) return response.status === 204 ? undefined : response.json()
  throw new LatchkeyError(response.status, await response.json().catch(() => ({})), response.headers.get("Retry-After"))
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
  let heard = () => {}
  let spread
  let queue = Promise.resolve() // in place of the lock, where a browser has none

  // adopt takes what an answer or another tab brought; null is the end of the session.
  function adopt(tokens, by) {
    grant = tokens && {
      token: tokens.access_token,
      userId: JSON.parse(atob(tokens.access_token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub,
      // Ahead of the end, and not all at once where many signed in together.
      renewAt: tokens.at + tokens.expires_in * (700 + 200 * Math.random()),
      expiresAt: tokens.at + tokens.expires_in * 1000,
    }
    const now = grant && grant.userId
    if (now === userId) return
    userId = now
    for (const listener of listeners) queueMicrotask(() => listener({ signedIn: now !== null, userId: now, by }))
  }

  function tell(tokens) {
    adopt(tokens, "this")
    channel.postMessage(tokens)
    spread = pause(spreading)
  }

  channel.onmessage = ({ data }) => {
    adopt(data, "another")
    heard()
  }

  // alone runs work while no other tab, and nothing else in this one, does such work. The lock outlasts the result: the
  // next tab to hold it has heard of what came before. Whoever does not get it, as a tab that the system has put to sleep
  // holds it, goes on without: refreshes at the same time do more work and no harm.
  function alone(work) {
    return new Promise((resolve, reject) => {
      const run = async () => {
        await work().then(resolve, reject)
        await spread
      }
      if (!navigator.locks) queue = queue.then(run)
      else navigator.locks.request(name, { signal: AbortSignal.timeout(patience) }, run).catch(run)
    })
  }

  const send = (path, body, token) => fetch(`${home}/api/user/${path}`, {
    method: "POST",
    credentials: "include",
    headers: { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(timeout),
  })

  async function begin(path, body) {
    const at = Date.now()
    const { access_token, expires_in } = await content(await send(path, body))
    tell({ access_token, expires_in, at })
  }

  async function renewOnce(stale) {
    if (grant && grant !== stale) return // another tab was faster
    try {
      await begin("refresh")
    } catch (error) {
      // Only the server's own word ends a session: not the network's, and not that of a proxy.
      if (error.code === "invalid_refresh_token") tell(null)
      throw error
    }
  }

  async function renew(stale) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await Promise.race([
          new Promise((resolve) => { heard = resolve }),
          alone(() => renewOnce(stale)),
        ])
      } catch (error) {
        const wait = error.retryAfter ?? attempt * (0.3 + 0.4 * Math.random())
        if (error.status < 500 || attempt === tries || wait > 5) throw error
        await pause(wait * 1000)
      }
    }
  }

  // refresh resolves when there is something newer than stale. Whoever needs that at the same time shares it.
  const refresh = (stale) => (refreshing ??= renew(stale).finally(() => { refreshing = null }))

  async function usable(signal, caller) {
    const now = Date.now()
    if (!grant || now >= grant.expiresAt) {
      await abortable(refresh(grant), signal)
    } else if (now >= grant.renewAt) {
      const old = grant
      refresh(old).catch(() => { old.renewAt = Date.now() + 10_000 }) // it is still good
    }
    if (!grant) throw ended()
    // A call that one user has begun is not made in the name of the next.
    if (caller && caller !== grant.userId) throw new LatchkeyError(401, { code: "user_changed", detail: "Another user has signed in" })
    return grant
  }

  async function authorized(input, init) {
    const request = new Request(input instanceof Request ? input : new URL(input, home), init)
    if (!trusted.includes(new URL(request.url).origin)) {
      throw new TypeError(`The access token is not for ${request.url}: add its origin to origins`)
    }
    const again = init?.body instanceof ReadableStream ? null : request.clone()
    const caller = userId
    const used = await usable(request.signal, caller)
    request.headers.set("Authorization", `Bearer ${used.token}`)
    const response = await fetch(request)
    // "Bearer" alone is what this server says of a wrong password.
    const refused = response.status === 401 && response.headers.get("WWW-Authenticate") !== "Bearer"
    if (!refused) return response
    used.expiresAt = 0
    if (!again) return response // a stream has been read, and cannot be sent twice
    response.body?.cancel()
    again.headers.set("Authorization", `Bearer ${(await usable(again.signal, caller)).token}`)
    return fetch(again)
  }

  const call = async (method, path, body) => content(await authorized(`/api/user/${path}`, {
    method,
    headers: body && { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  }))
  const endOtherSessions = () => call("DELETE", "sessions")

  // A page that comes back from the browser's cache has not heard what was told in the meantime.
  addEventListener("pageshow", (event) => {
    if (event.persisted && grant) refresh(grant).catch(() => {})
  })

  return {
    get userId() { return userId },
    get expiresAt() { return grant && new Date(grant.expiresAt) },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    register: async (username, password) => content(await send("register", { username, password })),
    login: (username, password) => alone(() => begin("login", { username, password })),
    async logout({ everywhere } = {}) {
      if (everywhere) await endOtherSessions()
      await alone(async () => {
        await content(await send("logout", undefined, grant?.token))
        tell(null)
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
