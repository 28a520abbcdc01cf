package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/internal/session"
)

// browser is an honest client: tabs that share a cookie jar, in front of a network that delays, reorders, duplicates
// and loses. It does what a page does: it refreshes with what the jar holds, keeps what the answer's cookie says, and
// uses the access tokens that it gets.
type browser struct {
	w       *world
	t       *rapid.T
	jar     string
	tabs    []string // each tab's access token
	wire    []packet
	now     time.Duration // since the sign-in
	history []string
	// successors is the refresh token that each presented one was answered with, if any.
	successors map[string]string
}

// packet is a request or its answer on the way.
type packet struct {
	at      time.Duration
	tab     int
	request bool
	left    time.Duration // how long its answer may take back
	held    string        // a request's cookie
	grant   session.Grant
}

func newBrowser(t *rapid.T, w *world) *browser {
	grant := w.login(t)
	b := &browser{w: w, t: t, jar: grant.RefreshToken, successors: map[string]string{}}
	for range rapid.IntRange(1, 4).Draw(t, "tabs") {
		b.tabs = append(b.tabs, grant.AccessToken)
	}
	return b
}

// pauses lie on both sides of every limit of the protocol.
var pauses = rapid.SampledFrom([]time.Duration{
	0, time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second, grace - time.Millisecond, grace,
	grace + time.Millisecond, 40 * time.Second, 2 * grace, 3*grace - time.Millisecond, 3 * grace,
	3*grace + time.Millisecond, 300 * time.Second, 5000 * time.Second,
})

// step lets some time pass and then has one tab do something.
func (b *browser) step() {
	b.wait(pauses.Draw(b.t, "pause"))
	tab := rapid.IntRange(0, len(b.tabs)-1).Draw(b.t, "tab")
	if rapid.IntRange(0, 2).Draw(b.t, "action") == 0 {
		b.use(tab)
		return
	}
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(b.t, "requests") {
		b.send(tab)
	}
}

// wait moves the clock, on which everything arrives whose time has come, in order.
func (b *browser) wait(pause time.Duration) {
	until := b.now + pause
	for {
		next := -1
		for i, p := range b.wire {
			if p.at <= until && (next < 0 || p.at < b.wire[next].at) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		p := b.wire[next]
		b.wire = slices.Delete(b.wire, next, next+1)
		b.moveTo(p.at)
		if p.request {
			b.arrive(p)
		} else {
			b.receive(p)
		}
	}
	b.moveTo(until)
}

func (b *browser) moveTo(at time.Duration) {
	b.w.clock.advance(at - b.now)
	b.now = at
}

func (b *browser) delay(slowest time.Duration, name string) time.Duration {
	return rapid.OneOf(
		rapid.SampledFrom([]time.Duration{0, slowest}),
		rapid.Map(rapid.Int64Range(0, slowest.Milliseconds()), func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }),
	).Draw(b.t, name)
}

// send puts a request with the jar's token on the wire, where it may get lost.
func (b *browser) send(tab int) {
	if rapid.IntRange(0, 9).Draw(b.t, "request lost") == 0 {
		b.note("tab %d sends %s, lost", tab, b.name(b.jar))
		return
	}
	wayThere := b.delay(grace, "way there")
	p := packet{at: b.now + wayThere, tab: tab, request: true, left: grace - wayThere, held: b.jar}
	b.note("tab %d sends %s, arrives at %s", tab, b.name(b.jar), p.at)
	b.wire = append(b.wire, p)
}

// arrive has a replica answer. An answer that is lost is also what a client sees of a server that was killed after it
// had committed; a lost request, what it sees of one that was killed before.
func (b *browser) arrive(p packet) {
	grant, err := b.replica().Refresh(context.Background(), p.held)
	if err != nil {
		b.t.Fatalf("an honest client was logged out by %s: %v\n%s", b.name(p.held), err, b.story())
	}
	b.checkSuccessor(p.held, grant)
	p.request, p.grant, p.at = false, grant, b.now+b.delay(p.left, "way back")
	lost := rapid.IntRange(0, 9).Draw(b.t, "answer lost") < 4
	b.note("%s arrives, answered with %s, lost %v, back at %s", b.name(p.held), b.name(grant.RefreshToken), lost, p.at)
	if !lost {
		b.wire = append(b.wire, p)
	}
}

// checkSuccessor holds the second property: all answers to one refresh token carry the same one, or none.
func (b *browser) checkSuccessor(presented string, grant session.Grant) {
	if grant.RefreshToken == "" {
		return
	}
	if first, seen := b.successors[presented]; seen && first != grant.RefreshToken {
		b.t.Fatalf("one refresh token has two successors\n%s", b.story())
	}
	if grant.RefreshToken == presented {
		b.t.Fatalf("a refresh token is its own successor\n%s", b.story())
	}
	b.successors[presented] = grant.RefreshToken
}

func (b *browser) receive(p packet) {
	if p.grant.RefreshToken != "" {
		b.jar = p.grant.RefreshToken
	}
	b.tabs[p.tab] = p.grant.AccessToken
	b.note("tab %d receives, the jar holds %s", p.tab, b.name(b.jar))
	if rapid.IntRange(0, 9).Draw(b.t, "used at once") < 7 {
		b.use(p.tab)
	}
}

// use presents a tab's access token. A refusal is in order: it may have expired, or be of an answer that got lost.
func (b *browser) use(tab int) {
	_, err := b.replica().Authenticate(context.Background(), b.tabs[tab])
	if err != nil && !errors.Is(err, session.ErrInvalidAccess) {
		b.t.Fatalf("use: %v", err)
	}
	b.note("tab %d uses its access token: %v", tab, err)
}

func (b *browser) replica() *session.Service {
	return b.w.replicas[rapid.IntRange(0, len(b.w.replicas)-1).Draw(b.t, "replica")]
}

func (b *browser) note(format string, args ...any) {
	b.history = append(b.history, fmt.Sprintf("%12s  ", b.now)+fmt.Sprintf(format, args...))
}

// name shortens a token for people.
func (b *browser) name(token string) string {
	if token == "" {
		return "nothing"
	}
	return "…" + token[len(token)-6:]
}

func (b *browser) story() string {
	story := ""
	for _, line := range b.history {
		story += line + "\n"
	}
	return story
}

// Each request and its answer together take no longer than the grace: see TestLimit… for why a bound on the requests
// alone is not enough. Both properties are held by the same histories.
func TestPropertyHonestClientsStaySignedInAndOneTokenHasOneSuccessor(t *testing.T) {
	w := newWorld(t, 2, nil)
	rapid.Check(t, func(t *rapid.T) {
		b := newBrowser(t, w)
		for range rapid.IntRange(10, 50).Draw(t, "steps") {
			b.step()
		}
		b.wait(2 * grace)
		// Whatever has happened: one more refresh gets through, and what it brings works.
		grant, err := b.replica().Refresh(context.Background(), b.jar)
		if err != nil {
			t.Fatalf("the last refresh: %v\n%s", err, b.story())
		}
		b.checkSuccessor(b.jar, grant)
		if _, err := b.replica().Authenticate(context.Background(), grant.AccessToken); err != nil {
			t.Fatalf("the last access token: %v\n%s", err, b.story())
		}
	})
}
