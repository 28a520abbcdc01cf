// client.d.ts says what api/openapi.yaml says (openapi.d.ts is generated from it), and client.js is what client.d.ts says.
import type { components, operations } from "./openapi"
import type * as declared from "latchkey-client"
import type * as implementation from "./implementation.js"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

export const equalSeesWhatDiffers: [
  Equal<{ a: string }, { a?: string }>,
  Equal<{ a: string }, { a: string | null }>,
  Equal<{ a: string }, { readonly a: string }>,
  Equal<{ a: string }, { a: any }>,
  Equal<{ a: string }, { a: string; b: string }>,
  Equal<{ a: { b: string } }, { a: { b?: string } }>,
  Equal<string[], readonly string[]>,
  Equal<"x" | "y", "x">,
  Equal<"x", string>,
] = [false, false, false, false, false, false, false, false, false]

type Schemas = components["schemas"]
type Calls = declared.Client
type Json<Operation extends keyof operations, Status extends number> =
  operations[Operation]["responses"] extends Record<Status, { content: { "application/json": infer Body } }> ? Body : "no such answer"
type Empty<Operation extends keyof operations> =
  operations[Operation]["responses"] extends { 204: { content?: never } } ? void : "an answer with a body"
type Result<Call extends keyof Calls> = Calls[Call] extends (...of: never[]) => Promise<infer Value> ? Value : "no call"
type Body<Operation extends keyof operations> =
  operations[Operation] extends { requestBody: { content: { "application/json": infer Sent } } } ? Sent : "no body"

export const schemas: {
  User: Equal<declared.User, Schemas["User"]>
  Session: Equal<declared.Session, Schemas["Session"]>
  FieldError: Equal<declared.FieldError, Schemas["FieldError"]>
  ProblemCode: Equal<declared.ProblemCode, Schemas["ProblemCode"]>
  code: Equal<declared.LatchkeyError["code"], Schemas["Problem"]["code"] | "user_changed" | "unknown">
  errors: Equal<declared.LatchkeyError["errors"], NonNullable<Schemas["Problem"]["errors"]>>
  requestId: Equal<declared.LatchkeyError["requestId"], Schemas["Problem"]["request_id"] | undefined>
} = { User: true, Session: true, FieldError: true, ProblemCode: true, code: true, errors: true, requestId: true }

export const answers: {
  register: Equal<Result<"register">, Json<"register", 201>>
  me: Equal<Result<"me">, Json<"me", 200>>
  sessions: Equal<Result<"sessions">, Json<"listSessions", 200>["sessions"]>
  logout: Equal<Result<"logout">, Empty<"logout">>
  changePassword: Equal<Result<"changePassword">, Empty<"changePassword">>
  endSession: Equal<Result<"endSession">, Empty<"endSession">>
  endOtherSessions: Equal<Result<"endOtherSessions">, Empty<"endOtherSessions">>
} = { register: true, me: true, sessions: true, logout: true, changePassword: true, endSession: true, endOtherSessions: true }

// What client.js sends, besides, is not typed there: these are the names that it uses.
export const bodies: [
  Equal<keyof Body<"register">, "username" | "password">,
  Equal<keyof Body<"login">, "username" | "password">,
  Equal<keyof Body<"changePassword">, "current_password" | "new_password">,
] = [true, true, true]

// implementation.js is client.js, with the declared type put in front of createClient, so that tsc compares the two.
export const exported: Equal<keyof typeof implementation, "createClient" | "LatchkeyError"> = true
export const declaredToo: Equal<keyof typeof declared, keyof typeof implementation> = true
export const membersOfErrors: Equal<keyof implementation.LatchkeyError, keyof declared.LatchkeyError> = true
export const membersOfClients: Record<keyof declared.Client, true> = {
  userId: true, expiresAt: true, onChange: true, register: true, login: true, logout: true, me: true, changePassword: true,
  sessions: true, endSession: true, endOtherSessions: true, fetch: true,
}
