package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
)

// bar is a line of a picture: how long it is, where its target is, if it has one, and what is written beside it.
type bar struct {
	label, text   string
	value, target float64
}

// picture writes bars as SVG, which a browser shows beside the tables.
func picture(folder, name, title string, bars []bar) error {
	const left, width, height = 640, 330, 26
	longest := 0.0
	for _, b := range bars {
		longest = max(longest, b.value, b.target)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1130 %d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="22" font-weight="bold">%s</text>
`, height*(len(bars)+2), html.EscapeString(title))
	for i, b := range bars {
		y := height * (i + 1)
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.0f" height="16" fill="#4878a8"/>`,
			left-8, y+21, html.EscapeString(b.label), left, y+9, max(1, b.value/longest*width))
		if b.target > 0 {
			fmt.Fprintf(&s, `<rect x="%.0f" y="%d" width="3" height="22" fill="#c03020"/>`, left+b.target/longest*width, y+6)
		}
		fmt.Fprintf(&s, `<text x="%d" y="%d">%s</text>`+"\n", left+width+8, y+21, html.EscapeString(b.text))
	}
	s.WriteString("</svg>\n")
	return os.WriteFile(filepath.Join(folder, name), []byte(s.String()), 0o600)
}
