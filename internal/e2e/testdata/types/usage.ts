// What an app may write, and, after @ts-expect-error, what it may not: tsc fails if that passes.
import { createClient, LatchkeyError, type Change, type Client, type ClientOptions, type User } from "latchkey-client"

const client: Client = createClient()
createClient({})
createClient({ baseURL: "https://auth.example.com", origins: ["https://api.example.com"] })
// @ts-expect-error: baseURL
createClient({ baseUrl: "https://auth.example.com" })
// @ts-expect-error: a list
createClient({ origins: "https://api.example.com" })
// @ts-expect-error: options
createClient("https://auth.example.com")
export const options: ClientOptions = {}

export async function right() {
  const user: User = await client.register("alice", "correct horse battery staple")
  await client.login("alice", "correct horse battery staple")
  const roles: string[] = (await client.me()).roles
  const since: string | undefined = (await client.sessions()).find((session) => session.current)?.created_at
  await client.endSession((await client.sessions())[0]?.id ?? "")
  await client.endOtherSessions()
  await client.changePassword("correct horse battery staple", "tall ships sail at midnight")
  await client.logout()
  await client.logout({ everywhere: true })
  const until: Date | null = client.expiresAt
  const id: string | null | undefined = client.userId
  return { user, roles, since, until, id }
}

export async function wrong() {
  // @ts-expect-error: a password
  await client.login("alice")
  // @ts-expect-error: not an object
  await client.login({ username: "alice", password: "correct horse battery staple" })
  // @ts-expect-error: nothing comes of it
  const token: string = await client.login("alice", "correct horse battery staple")
  // @ts-expect-error: everywhere
  await client.logout({ all: true })
  // @ts-expect-error: a string
  await client.endSession(1)
  // @ts-expect-error: a promise
  client.me().username
  // @ts-expect-error: created_at
  const since = (await client.me()).createdAt
  // @ts-expect-error: a string, not a Date
  const created: Date = (await client.me()).created_at
  // @ts-expect-error: only to be read
  client.userId = null
  // @ts-expect-error: perhaps there is none
  client.expiresAt.getTime()
  // @ts-expect-error: nobody gets the tokens
  client.token
  return { token, since, created }
}

// The methods need no this, so they can be passed on.
const { onChange } = client
export const stop: () => void = onChange((change: Change) => {
  if (change.by === "another" && !change.signedIn) console.log(change.userId)
  // @ts-expect-error: this or another
  if (change.by === "other") return
})
// @ts-expect-error: a function
client.onChange("signedIn")
export const replacement: typeof fetch = client.fetch
export const streamed: Promise<Response> = client.fetch(new Request("/api/user/me"), { signal: AbortSignal.timeout(1000) })
// @ts-expect-error: an address
client.fetch()

export function told(error: unknown): string {
  if (!(error instanceof LatchkeyError)) return "no network"
  switch (error.code) {
    case "validation_failed":
      return error.errors.map(({ field, code, message }) => `${field} ${code} ${message}`).join()
    case "too_many_requests":
      // @ts-expect-error: perhaps the server has not said
      return error.retryAfter.toString()
    case "user_changed":
    case "unknown":
      return `${error.status} ${error.requestId ?? ""} ${error.message}`
    // @ts-expect-error: no such code
    case "invalid_password":
      return ""
    default:
      return error.code
  }
}
// @ts-expect-error: to be read, not to be made into another one
export const forged = (error: LatchkeyError) => { error.status = 200 }
