// faults lists what keeps people from reading or using the page: contrast below 4.5:1 (WCAG 1.4.3), targets
// below 44 by 44 px (2.5.5), what is wider than the window (1.4.10), fields without one label (3.3.2), not one h1.
function faults() {
  const found = []
  const seen = (element) => element.checkVisibility({ visibilityProperty: true })
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen)
  const name = (element) => `${element.localName}#${element.id} "${element.textContent.trim().slice(0, 40)}"`

  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth} px wide`)
  for (const element of all("body *")) {
    const { left, right } = element.getBoundingClientRect()
    if (left < 0 || right > innerWidth) found.push(`${name(element)} goes from ${left} to ${right} px`)
  }
  for (const control of all("button, input")) {
    const { width, height } = control.getBoundingClientRect()
    if (width < 44 || height < 44) found.push(`${name(control)} measures ${width} by ${height} px`)
    if (control.localName === "input" && control.labels.length !== 1) found.push(`${name(control)} has no label`)
  }
  if (all("h1").length !== 1) found.push(`${all("h1").length} headings of the first level`)

  const numbers = (color) => color.match(/[\d.]+/g).map(Number)
  const luminance = (color) => numbers(color).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0)
  function behind(element) {
    const color = getComputedStyle(element).backgroundColor
    return numbers(color)[3] === 0 && element.parentElement ? behind(element.parentElement) : color
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement
    if (!texts.currentNode.data.trim() || !seen(element) || element.matches(":disabled, noscript, template")) continue
    const [dark, light] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => a - b)
    const contrast = (light + 0.05) / (dark + 0.05)
    if (contrast < 4.5) found.push(`${name(element)} has a contrast of ${contrast.toFixed(2)}`)
  }
  return found
}
