// Each kind of attack resolves to a list of what this page could read of the answers.

const calls = ["register", "login", "refresh", "logout", "password"]
const pages = ["/livez", "/readyz", "/.well-known/jwks.json", "/openapi.yaml", "/swagger/", "/demo/", "/client.js", "/api/user/me",
  "/api/user/protected", "/api/user/sessions", ...calls.map((call) => "/api/user/" + call)]
const mallory = { username: "mallory", password: "correct horse battery staple" }
const settled = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// loaded waits for an element that loads something, however that ends.
function loaded(element) {
  return new Promise((resolve) => {
    element.onload = element.onerror = resolve
    document.body.append(element)
    setTimeout(resolve, 2000) // what is downloaded, or answered by 204, never loads
  })
}

// form posts fields from a form into a frame, as any page can; nothing tells the page what was answered.
async function form(url, type, fields) {
  const frame = Object.assign(document.createElement("iframe"), { name: "f" + Math.random() })
  document.body.append(frame)
  const f = Object.assign(document.createElement("form"), { method: "POST", action: url, enctype: type, target: frame.name })
  for (const [name, value] of Object.entries(fields)) {
    f.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }))
  }
  document.body.append(f)
  const done = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 2000) })
  f.submit()
  await done
  return readable("form", frame.contentWindow)
}

// readable says what a window shows to this page.
function readable(how, other) {
  try {
    const text = other.document.body.innerText
    return text ? [how + " " + text] : []
  } catch { return [] }
}

async function forms(target) {
  const json = JSON.stringify(mallory)
  const at = json.lastIndexOf("staple")
  return (await Promise.all(calls.flatMap((call) => {
    const url = target + "/api/user/" + call
    return [
      form(url, "application/x-www-form-urlencoded", mallory),
      form(url, "multipart/form-data", mallory),
      // text/plain sends name=value as they are: {"username":…,"password":"…=…"}
      form(url, "text/plain", { [json.slice(0, at)]: json.slice(at) }),
      form(url, "text/plain", {}),
    ]
  }))).flat()
}

// fetches without CORS: sent, and never readable.
async function blind(target) {
  const read = []
  for (const call of calls) {
    for (const credentials of ["include", "omit"]) {
      for (const body of [undefined, JSON.stringify(mallory), new URLSearchParams(mallory), new Blob([JSON.stringify(mallory)])]) {
        try {
          const answer = await fetch(target + "/api/user/" + call, { method: "POST", mode: "no-cors", credentials, body })
          if (answer.status || await answer.text()) read.push("no-cors " + call)
        } catch {}
      }
    }
    navigator.sendBeacon(target + "/api/user/" + call, JSON.stringify(mallory))
    navigator.sendBeacon(target + "/api/user/" + call, new URLSearchParams(mallory))
    navigator.sendBeacon(target + "/api/user/" + call)
  }
  await settled(500) // for the beacons
  return read
}

// fetches with CORS: some preflighted, some not, for a POST without a body needs no leave.
async function cors(target) {
  const read = []
  const attempt = async (what, path, options) => {
    try {
      const answer = await fetch(target + path, { mode: "cors", credentials: "include", ...options })
      read.push("cors " + what + " " + answer.status)
    } catch {}
  }
  for (const path of pages) await attempt("GET " + path, path, {})
  for (const call of ["register", "login", "password", "refresh", "logout"]) {
    const path = "/api/user/" + call
    const json = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(mallory) }
    await attempt("text " + call, path, { method: "POST", body: JSON.stringify(mallory) })
    await attempt(call, path, call === "refresh" || call === "logout" ? { method: "POST" } : json)
    await attempt("with a header " + call, path, { ...json, headers: { ...json.headers, "X-Request-Id": "mallory" } })
  }
  await attempt("DELETE", "/api/user/sessions", { method: "DELETE" })
  await attempt("DELETE with a token", "/api/user/sessions", { method: "DELETE", headers: { Authorization: "Bearer x" } })
  return read
}

// opened opens a page in a window.
async function opened(target, path) {
  const other = window.open(target + path)
  if (!other) throw new Error("no window was opened")
  await settled(1000)
  const read = readable("window " + path, other)
  other.close()
  return read
}

// what a page loads, frames or opens; but for the demo, which refreshes the session of whoever opens it.
async function embedded(target) {
  const load = async (tag, path) => {
    const element = document.createElement(tag)
    if (tag === "link") element.rel = "stylesheet"
    element[{ link: "href", object: "data" }[tag] ?? "src"] = target + path
    await loaded(element)
    if (tag === "img" && element.naturalWidth) return ["img " + path]
    return tag === "iframe" ? readable("iframe " + path, element.contentWindow) : []
  }
  const tags = ["img", "script", "iframe", "link", "video", "object"]
  const open = pages.filter((path) => path !== "/demo/").map((path) => opened(target, path))
  return (await Promise.all([...open, ...pages.flatMap((path) => tags.map((tag) => load(tag, path)))])).flat()
}
