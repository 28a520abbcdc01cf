// faults lists what keeps people from reading or using the page: what axe-core finds and, beside it, targets below 44 by
// 44 px (WCAG 2.5.5; axe-core asks for 24), what is wider than the window (1.4.10) and a second h1.
async function faults() {
  const found = []
  const all = (selector) => [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility({ visibilityProperty: true }))
  const name = (element) => `${element.localName}#${element.id} "${element.textContent.trim().slice(0, 40)}"`

  const { violations } = await axe.run({ preload: false }) // of style sheets, which no rule here asks for
  for (const { id, nodes } of violations) {
    for (const { html, failureSummary } of nodes) found.push(`${id}: ${html}: ${failureSummary}`)
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth} px wide`)
  for (const element of all("body *")) {
    const { left, right } = element.getBoundingClientRect()
    if (left < 0 || right > innerWidth) found.push(`${name(element)} goes from ${left} to ${right} px`)
  }
  for (const control of all("button, input")) {
    const { width, height } = control.getBoundingClientRect()
    if (width < 44 || height < 44) found.push(`${name(control)} measures ${width} by ${height} px`)
  }
  if (all("h1").length !== 1) found.push(`${all("h1").length} headings of the first level`)
  return found
}
