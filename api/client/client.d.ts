// User, Session, FieldError and ProblemCode are those of api/openapi.yaml; a test compares them with what is generated from it.
// All times are RFC 3339, in UTC.

export interface User {
  id: string
  username: string
  roles: string[]
  created_at: string
}

/** A sign-in on one device. */
export interface Session {
  id: string
  created_at: string
  /** The hour in which it was last in use; for the current session, now. */
  last_used_at: string
  /** When it ends if it is not refreshed before, rounded up to the hour. */
  expires_at: string
  /** The browser's own name for itself at sign-in; may be empty. */
  user_agent: string
  /** The address at sign-in; may be empty. */
  ip: string
  /** Whether it is the one of this browser. */
  current: boolean
}

/** What is wrong with one field of a form. */
export interface FieldError {
  field: string
  code: "invalid_characters" | "too_common" | "too_long" | "too_obvious" | "too_short"
  /** For people, in English: "must have at least 8 characters". */
  message: string
}

/** The stable names of the server's refusals; docs/errors.md explains each. */
export type ProblemCode =
  | "invalid_refresh_token"
  | "malformed_request"
  | "invalid_credentials"
  | "invalid_token"
  | "cross_origin"
  | "forbidden"
  | "registration_closed"
  | "not_found"
  | "method_not_allowed"
  | "request_timeout"
  | "username_taken"
  | "payload_too_large"
  | "unsupported_media_type"
  | "validation_failed"
  | "too_many_requests"
  | "headers_too_large"
  | "internal"
  | "unavailable"

/** Says who is signed in, now that this has changed. */
export interface Change {
  signedIn: boolean
  /** The id of the user who is signed in, null if nobody is. */
  userId: string | null
  /** Who did it, or found out: this client or another one of this origin, mostly that of another tab. */
  by: "this" | "another"
}

/** A refusal by the server. A network that fails rejects with what fetch rejects with instead. */
export declare class LatchkeyError extends Error {
  /** Makes one of an answer that fetch has brought: its status, its body and its Retry-After. */
  constructor(status: number, problem: Partial<Pick<LatchkeyError, "code" | "errors"> & { detail: string, request_id: string }>, retryAfter?: string | null)
  /** The HTTP status. */
  readonly status: number
  /**
   * What a program decides by. Beside the server's own: "user_changed", if the call was begun while another user was signed
   * in and has not been made, and "unknown", if a proxy or a hotel's login page has answered and not Latchkey, with whatever
   * status.
   */
  readonly code: ProblemCode | "user_changed" | "unknown"
  /** With validation_failed: what is wrong, field by field. Empty otherwise. */
  readonly errors: FieldError[]
  /** What to tell the operator, who finds it in the log. */
  readonly requestId?: string
  /** In seconds: how long to wait before trying again. */
  readonly retryAfter?: number
}

export interface ClientOptions {
  /** The server's address, like "https://auth.example.com". By default the page's own origin. */
  baseURL?: string
  /** Further origins that `fetch` may send the access token to: those of your own services that verify it. */
  origins?: string[]
}

/**
 * What a page does with Latchkey. Every call may reject with what fetch rejects with (the network has failed, or nothing
 * came for 15 seconds); one that the server refused rejects with a LatchkeyError. Neither signs anybody out, except the
 * refusal `invalid_refresh_token`: then the session is over, and onChange has said so. For 5 seconds after that, further calls
 * reject likewise without asking the server; so they do after a Retry-After, for as long as it says, up to 5 seconds.
 */
export interface Client {
  /** Who is signed in: an id, null if nobody is, undefined until the first call has shown it. */
  readonly userId: string | null | undefined

  /** When the access token ends, or was refused; null without one. The next call then gets another by itself. */
  readonly expiresAt: Date | null

  /**
   * Calls the listener whenever somebody signs in or out, in this tab or another one of this origin, and when the first call
   * has shown who is signed in. Returns what stops it.
   */
  readonly onChange: (listener: (change: Change) => void) => () => void

  /** Makes an account. It does not sign in. */
  register(username: string, password: string): Promise<User>

  /** Signs in, in all tabs. */
  login(username: string, password: string): Promise<void>

  /** Signs out, in all tabs; with `everywhere`, on all devices. Rejects if the server could not be told: try again. */
  logout(options?: { everywhere?: boolean }): Promise<void>

  /** Returns who is signed in. The call to begin with when a page is loaded. */
  me(): Promise<User>

  /** Sets a new password and ends all other sessions. */
  changePassword(current: string, next: string): Promise<void>

  /** Lists where the user is signed in. */
  sessions(): Promise<Session[]>

  /** Ends one of them. For the current one, logout is better. */
  endSession(id: string): Promise<void>

  /** Ends all of them but the current one. */
  endOtherSessions(): Promise<void>

  /**
   * Is fetch with the access token: renews it ahead of its end, or after a 401, after which the call is made once more (but
   * for one with a stream as its body). Relative addresses are the server's. Like fetch, it resolves with whatever is
   * answered, and waits as long as its signal lets it. It rejects with a TypeError if the token is not meant for the address.
   */
  readonly fetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>
}

/** Makes a client. One for a page is enough; it does nothing until it is called. */
export declare function createClient(options?: ClientOptions): Client
