package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report writes what was measured as tables of Markdown.
type report struct {
	w     io.Writer
	table string
	// ratios and storms are the bars of the pictures.
	ratios, storms []bar
}

func newReport(w io.Writer) *report { return &report{w: w} }

// comparison is a subject beside its limit.
type comparison struct {
	name, limit string
	clients     int
	// target is the ratio that is to be reached, or 0.
	target float64
	// median says that the ratio is of the limit's median time to the subject's, and not of their rates.
	median bool
	rounds []round
}

type round struct{ subject, limit result }

func (c comparison) ratio(r round) float64 {
	if c.median {
		return float64(r.limit.percentile(50)) / float64(r.subject.percentile(50))
	}
	return r.subject.rate() / r.limit.rate()
}

// row writes a row, and before it, where it is the first of its table, the head.
func (r *report) row(head string, columns int, format string, values ...any) error {
	if r.table != head {
		r.table = head
		line := "|"
		for range columns {
			line += "---|"
		}
		if _, err := fmt.Fprintf(r.w, "\n%s\n%s\n", head, line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(r.w, format+"\n", values...)
	return err
}

func (r *report) comparison(c comparison) error {
	slices.SortFunc(c.rounds, func(a, b round) int { return int(1e6 * (c.ratio(a) - c.ratio(b))) })
	m := c.rounds[len(c.rounds)/2]
	target := ""
	if c.target > 0 {
		target = fmt.Sprintf("%.2f", c.target)
	}
	r.ratios = append(r.ratios, bar{label: c.name + ", " + c.limit, value: c.ratio(m), target: c.target, text: fmt.Sprintf("%.2f", c.ratio(m))})
	return r.row("| call | clients | /s | p50 / p99 ms | CPU µs | errors | limit | /s | p50 / p99 ms | CPU µs | errors | ratio (least to most) | target |", 13,
		"| %s | %d | %.0f | %s | %d | %s | %s | %.0f | %s | %d | %s | **%.2f** (%.2f to %.2f) | %s |", c.name, c.clients,
		m.subject.rate(), times(m.subject), m.subject.cost().Microseconds(), m.subject.failures(), c.limit,
		m.limit.rate(), times(m.limit), m.limit.cost().Microseconds(), m.limit.failures(),
		c.ratio(m), c.ratio(c.rounds[0]), c.ratio(c.rounds[len(c.rounds)-1]), target)
}

func times(r result) string {
	return fmt.Sprintf("%s / %s", ms(r.percentile(50)), ms(r.percentile(99)))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3g", float64(d.Nanoseconds())/1e6) }

func mib(bytes uint64) string { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }

// alone reports what has no limit beside it.
func (r *report) alone(name string, clients int, m result) error {
	return r.row("| what | clients | /s | p50 / p99 ms | CPU µs | errors | memory MiB, now / most |", 7, "| %s | %d | %.0f | %s | %d | %s | %s / %s |",
		name, clients, m.rate(), times(m), m.cost().Microseconds(), m.failures(), mib(m.Memory), mib(m.Peak))
}

// started is a start: the time to the first answer, and the memory then.
type started struct {
	after  time.Duration
	memory uint64
}

func (r *report) starts(starts []started) error {
	slices.SortFunc(starts, func(a, b started) int { return int(a.after - b.after) })
	middle, last := starts[len(starts)/2], starts[len(starts)-1]
	return r.row("| starts, of an existing database | ms to the first 200, median / most | target | memory MiB | target |", 5,
		"| %d | %s / %s | 60 | %s | 30 |", len(starts), ms(middle.after), ms(last.after), mib(middle.memory))
}

func (r *report) storm(name string, before, during, logins result) error {
	for _, phase := range []struct {
		when string
		r    result
	}{{"before", before}, {"during", during}} {
		r.storms = append(r.storms, bar{
			label: name + ", " + phase.when, value: phase.r.percentile(99).Seconds(),
			text: fmt.Sprintf("%s ms, %.0f a second", ms(phase.r.percentile(99)), phase.r.rate()),
		})
	}
	return r.row("| while 1,000 clients sign in without end | /s before | p50 / p99 ms | /s during | p50 / p99 ms | p99, times that before (target 2) | sign-ins/s | "+
		"their p50 / p99 ms | turned away | memory MiB, most |", 10,
		"| %s | %.0f | %s | %.0f | %s | **%.1f** | %.1f | %s | %s | %s |", name, before.rate(), times(before), during.rate(), times(during),
		float64(during.percentile(99))/float64(before.percentile(99)), logins.rate(), times(logins), logins.failures(), mib(logins.Peak))
}

func (r *report) minute(past time.Duration, m result) error {
	return r.row("| minutes | /s | p50 / p99 ms | CPU µs | errors | memory MiB, now / most |", 6, "| %.0f | %.0f | %s | %d | %s | %s / %s |",
		past.Minutes(), m.rate(), times(m), m.cost().Microseconds(), m.failures(), mib(m.Memory), mib(m.Peak))
}

// pictures writes the pictures of what was measured.
func (r *report) pictures(folder string) error {
	for _, p := range []struct {
		name, title string
		bars        []bar
	}{
		{"ratios.svg", "Share of the limit that is reached (red: the target)", r.ratios},
		{"storm.svg", "Time for 99 of 100 calls, before and while 1,000 clients sign in without end", r.storms},
	} {
		if len(p.bars) > 0 {
			if err := picture(folder, p.name, p.title, p.bars); err != nil {
				return err
			}
		}
	}
	return nil
}
