package main

import (
	"strings"
	"testing"
	"time"

	"latchkey/internal/account"
)

func TestImportTellsOfItselfOnceASecond(t *testing.T) {
	var w strings.Builder
	now := time.Unix(0, 0)
	p := &importProgress{w: &w, now: func() time.Time { return now }}
	for i := range 250 {
		now = now.Add(10 * time.Millisecond)
		p.report(account.ImportChecks, i+1)
	}
	now = now.Add(time.Hour) // a new step begins with a second of silence
	for i := range 100 {
		now = now.Add(10 * time.Millisecond)
		p.report(account.ImportInserts, 200*(i+1))
	}
	now = now.Add(10 * time.Millisecond)
	p.end()
	want := "checked 101 line(s)…\nchecked 201 line(s)…\nchecked 250 line(s)\ninserted 20000 line(s)\n"
	if w.String() != want {
		t.Errorf("it tells\n%swant\n%s", w.String(), want)
	}
}

func TestImportOfNothingTellsNothing(t *testing.T) {
	var w strings.Builder
	(&importProgress{w: &w, now: time.Now}).end()
	if w.String() != "" {
		t.Errorf("it tells %q", w.String())
	}
}
