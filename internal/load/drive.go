package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// warmUp is how long the clients are at it before anything counts.
const warmUp = 300 * time.Millisecond

// result is what a closed loop of clients came to.
type result struct {
	Took     []time.Duration // of each call that succeeded, in order of size
	Elapsed  time.Duration
	Failures map[string]int // by what the call came to
	usage
}

// drive has each client take its steps, one after the other, for so long. What the process used meanwhile is part of the result.
func drive(ctx context.Context, p *process, clients []*client, during time.Duration, step func(*client) error) (result, error) {
	var wait sync.WaitGroup
	results := make([]result, len(clients))
	begin := time.Now().Add(warmUp)
	end := begin.Add(during)
	var profileErr error
	if profiles != "" && p.operations != "" {
		wait.Go(func() { profileErr = p.profile(begin, during) })
	}
	for i, c := range clients {
		wait.Go(func() { results[i] = loop(ctx, begin, end, c.pause, func() error { return step(c) }) })
	}
	used, err := usedBetween(ctx, p.command.Process.Pid, begin, end)
	wait.Wait()
	all := merge(results, during)
	all.usage = used
	return all, errors.Join(ctx.Err(), err, profileErr)
}

// usedBetween returns what a process used of the processor between two times, and its memory then.
func usedBetween(ctx context.Context, pid int, begin, end time.Time) (usage, error) {
	until(ctx, begin)
	before, err := usageOf(pid)
	if err != nil {
		return usage{}, err
	}
	until(ctx, end)
	after, err := usageOf(pid)
	after.CPU -= before.CPU
	return after, err
}

// until sleeps, unless the user wants an end.
func until(ctx context.Context, t time.Time) {
	select {
	case <-time.After(time.Until(t)):
	case <-ctx.Done():
	}
}

// loop takes steps until the end, with a pause after each, and reports on those that ended between the beginning and the end.
func loop(ctx context.Context, begin, end time.Time, pause time.Duration, step func() error) result {
	r := result{Failures: map[string]int{}}
	for {
		started := time.Now()
		if started.After(end) || ctx.Err() != nil {
			return r
		}
		err := step()
		ended := time.Now()
		switch {
		case ended.Before(begin) || ended.After(end):
		case err != nil:
			r.Failures[describe(err)]++
		default:
			r.Took = append(r.Took, ended.Sub(started))
		}
		time.Sleep(pause)
	}
}

// describe names an error without the addresses that differ from one connection to the next.
func describe(err error) string {
	var status statusError
	if errors.As(err, &status) {
		return status.Error()
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err.Error()
}

func merge(results []result, elapsed time.Duration) result {
	all := result{Elapsed: elapsed, Failures: map[string]int{}}
	for _, r := range results {
		all.Took = append(all.Took, r.Took...)
		for cause, n := range r.Failures {
			all.Failures[cause] += n
		}
	}
	slices.Sort(all.Took)
	return all
}

// rate is in calls a second.
func (r result) rate() float64 { return float64(len(r.Took)) / r.Elapsed.Seconds() }

// percentile returns the time within which so many of a hundred calls were answered.
func (r result) percentile(p float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	return r.Took[min(int(p/100*float64(len(r.Took))), len(r.Took)-1)]
}

// cost is the processor's time for one call.
func (r result) cost() time.Duration {
	n := len(r.Took)
	for _, failures := range r.Failures {
		n += failures
	}
	return r.CPU / time.Duration(max(n, 1))
}

func (r result) failures() string {
	if len(r.Failures) == 0 {
		return "0"
	}
	var list string
	for _, cause := range sortedKeys(r.Failures) {
		list += fmt.Sprintf("%d × %s ", r.Failures[cause], cause)
	}
	return list[:len(list)-1]
}
