// The demo: a single-page app on top of client.js. The client knows who is signed in, in all tabs; this file shows it.
import { createClient, LatchkeyError } from "/client.js"

const client = createClient()
const $ = (id) => document.getElementById(id)

// ---- What the forms do. Each has an action by its id, which gets its values and returns what to tell the user.

const actions = {
  again: () => start(),

  async register({ username, password }, form) {
    await client.register(username, password)
    form.reset()
    // The account is made; should the sign-in fail, everything is there to try it again.
    $("username").value = username
    $("password").value = password
    $("login").requestSubmit()
  },

  async login({ username, password }, form) {
    await client.login(username, password)
    form.reset()
    await start()
  },

  async protected() {
    const response = await client.fetch("/api/user/protected", { signal: AbortSignal.timeout(15_000) })
    const answer = await response.json().catch(() => ({}))
    if (!response.ok && answer.code !== "forbidden") {
      throw new LatchkeyError(response.status, answer, response.headers.get("Retry-After"))
    }
    $("allowed").hidden = !response.ok
    $("forbidden").hidden = response.ok
    $("message").textContent = answer.message
    for (const time of document.querySelectorAll("#protected time")) showTime(time, new Date(), clock)
    showUser(await client.me()) // perhaps with another role by now
  },

  async devices({ session, others }) {
    if (others) await client.endOtherSessions()
    const endedAlready = (error) => { if (error.code !== "not_found") throw error }
    if (session) await client.endSession(session).catch(endedAlready)
    showDevices(await client.sessions())
    if (others) return "All other devices are signed out."
    return session ? "That device is signed out." : "The list is up to date."
  },

  async "change-password"({ current_password, new_password }, form) {
    await client.changePassword(current_password, new_password)
    form.reset()
    client.sessions().then(showDevices, () => {}) // if that fails, the password is changed all the same
    return "The password is changed, and all other devices are signed out."
  },

  async logout({ everywhere }) {
    await client.logout({ everywhere: Boolean(everywhere) })
    return everywhere ? "You are signed out on all devices." : "You are signed out."
  },
}

document.addEventListener("submit", async (event) => {
  event.preventDefault()
  const { target: form, submitter } = event
  const input = Object.fromEntries(new FormData(form, submitter))
  const buttons = form.querySelectorAll("button")
  for (const button of buttons) button.disabled = true // a second submission waits for the end of the first
  say("")
  showErrors(form)
  try {
    const done = await actions[form.id](input, form)
    if (done) say(done)
  } catch (error) {
    const told = ["invalid_refresh_token", "user_changed"].includes(error.code) // by onChange
    if (!told && !showErrors(form, error.errors)) say("", explain(error))
  }
  for (const button of buttons) button.disabled = false
  if (document.activeElement === document.body) { // a button that is disabled, or gone, loses the focus
    const next = submitter?.checkVisibility() ? submitter : form.querySelector("h2")
    next?.focus()
  }
  document.activeElement.scrollIntoView({ block: "nearest" }) // clear of the message
})

// ---- Who is signed in.

// start shows who is signed in. If nobody is, onChange tells; if there is no answer, nobody has been signed out.
async function start(message = "") {
  try {
    const [user, sessions] = await Promise.all([client.me(), client.sessions()])
    if (client.userId !== user.id) return
    showUser(user)
    showDevices(sessions)
    $("allowed").hidden = $("forbidden").hidden = true
    tick()
    view("signed-in")
    say(message)
  } catch (error) {
    if (error.code === "user_changed") return start(message)
    if (client.userId === null) return
    view("away")
    say("", explain(error))
  }
}

client.onChange(({ signedIn, by }) => {
  const shown = !$("signed-in").hidden
  if (signedIn) {
    if (shown || by === "another") start("Signed in in another tab.")
    return
  }
  for (const form of $("signed-in").querySelectorAll("form")) form.reset()
  view("signed-out")
  if (shown) say(by === "another" ? "Signed out in another tab." : "Your session has ended: log in again.")
})

// ---- What is shown.

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" })
const minutes = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })

function view(id) {
  const first = !$("starting").hidden
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id
  const heading = $(id).querySelector("h1")
  document.title = `${heading.textContent} · Latchkey demo`
  if (!first) heading.focus()
}

function say(status, alert = "") {
  $("status").textContent = status
  $("alert").textContent = alert
}

// showErrors shows beside the fields what is wrong with them, and returns whether there was anything to show.
function showErrors(form, errors = []) {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid")
  for (const text of form.querySelectorAll(".error")) text.textContent = ""
  for (const { field, message } of errors) {
    const input = form.elements[field]
    input.setAttribute("aria-invalid", "true")
    $(`${input.id}-error`).textContent = `${input.labels[0].textContent} ${message}.`
  }
  form.querySelector("[aria-invalid]")?.focus()
  return errors.length > 0
}

function explain(error) {
  if (!(error instanceof LatchkeyError)) {
    console.error(error) // the network's, or a mistake in this file
    return "No answer from the server. Check the connection and try again."
  }
  if (error.status === 429) return `That was tried too often. Try again ${after(error.retryAfter)}.`
  if (error.status >= 500) return `The server cannot do this at the moment. Try again ${after(error.retryAfter)}.`
  return `${error.message}.`
}

function after(seconds) {
  if (!seconds) return "later"
  if (seconds > 90) return `in ${Math.ceil(seconds / 60)} minutes`
  return seconds === 1 ? "in a second" : `in ${seconds} seconds`
}

function showTime(element, date, format = minutes) {
  element.dateTime = date.toISOString()
  element.textContent = format.format(date)
}

function showUser({ username, roles, created_at }) {
  $("name").textContent = $("change-password").elements.username.value = username
  $("roles").textContent = roles.join(", ") || "none"
  showTime($("since"), new Date(created_at))
  // A name may have any characters: quoted, it is nothing but a name to the shell.
  const name = /^\w+$/.test(username) ? username : `-- '${username.replaceAll("'", "'\\''")}'`
  $("command").textContent = `bin/latchkey user set-roles ${name} admin`
}

function showDevices(sessions) {
  $("others").hidden = sessions.length < 2
  sessions.sort((a, b) => b.current - a.current) // this one first, then as they are: the newest first
  $("list").replaceChildren(...sessions.map(({ id, user_agent, ip, created_at, last_used_at, current }) => {
    const item = $("device").content.cloneNode(true)
    const [began, used] = item.querySelectorAll("time")
    const button = item.querySelector("button")
    item.querySelector("strong").textContent = device(user_agent)
    item.querySelector("strong").title = user_agent
    item.querySelector("bdi").textContent = ip
    showTime(began, new Date(created_at))
    showTime(used, new Date(last_used_at))
    button.value = id
    button.ariaLabel = `End this one: ${device(user_agent)}, signed in ${began.textContent}`
    for (const element of current ? [button, used.parentElement] : [item.querySelector(".badge")]) element.remove()
    return item
  }))
}

// In order: browsers call themselves by the names of others too.
const browsers = { Edge: /Edg/, Opera: /OPR/, Firefox: /Firefox|FxiOS/, Chrome: /Chrom|CriOS/, Safari: /Safari/ }
const systems = { Android: /Android/, iOS: /iPhone|iPad/, Windows: /Windows/, macOS: /Mac OS/, Linux: /Linux/ }

// device makes "Firefox on Linux" of what a browser calls itself.
function device(userAgent) {
  const find = (names) => Object.keys(names).find((name) => names[name].test(userAgent))
  const program = find(browsers) ?? (userAgent.split("/")[0].slice(0, 40) || "Unknown device")
  return [program, find(systems)].filter(Boolean).join(" on ")
}

// The countdown. To a screen reader it is a timer, which is read when asked for and not each second.
let token = {} // the one last seen

function tick() {
  const now = Date.now()
  const ends = Number(client.expiresAt)
  if (ends && ends !== token.ends) {
    const how = $("signed-in").checkVisibility() ? "Renewed" : "Received"
    token = { began: now, ends, news: `${how} at ${clock.format(now)}.` }
  }
  const left = Math.max(0, Math.ceil((ends - now) / 1000))
  $("left").textContent = left ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left` : "Run out"
  $("news").textContent = left ? token.news : "The next call renews it."
  Object.assign($("life"), { max: token.ends - token.began || 1, value: ends - now })
}

setInterval(tick, 500)
start()
