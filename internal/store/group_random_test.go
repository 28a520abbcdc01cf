package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gorm.io/gorm"
)

// The sizes of the test below.
const (
	randomWriters = 24
	randomWrites  = 100  // of each writer
	randomKeys    = 1000 // of all: many are asked for more than once
)

// randomWriter does all that a caller may do, at random, and remembers what it was told.
type randomWriter struct {
	s       *Store
	random  *rand.Rand
	written []int       // numbers that have to be there
	unknown []int       // numbers that may be there: the database was asked, and did not confirm
	refused map[int]int // numbers that must not be there, but the keys for which they were refused
	steps   []int       // from which the counter was moved
	maybe   int         // how many more steps there may be
	faults  []error
}

func TestWritesBecomeWhatTheirCallersWereTold(t *testing.T) {
	for name, closed := range map[string]bool{"until the end": false, "until the database is closed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Log("seed", seed)
			path := filepath.Join(t.TempDir(), "latchkey.db")
			s := openFile(t, path)
			for _, statement := range []string{
				"CREATE TABLE written (number INTEGER NOT NULL CHECK (number >= 0), key INTEGER UNIQUE)", // the number is not: to see one twice
				"CREATE TABLE counter (n INTEGER)", "INSERT INTO counter VALUES (0)",
			} {
				if err := s.writers.db.Exec(statement).Error; err != nil {
					t.Fatal(err)
				}
			}
			var wait sync.WaitGroup
			writers := make([]*randomWriter, randomWriters)
			for i := range writers {
				w := &randomWriter{s: s, random: rand.New(rand.NewPCG(seed, uint64(i))), refused: map[int]int{}}
				writers[i] = w
				wait.Go(func() {
					for n := range randomWrites {
						w.act((i*randomWrites + n) * 2)
						if closed && i == 0 && n == randomWrites/2 {
							w.check(s.Close())
						}
					}
				})
			}
			wait.Wait()
			if n := len(s.writers.places) + len(s.writers.group.waiting); n != 0 {
				t.Errorf("%d places are taken or writes still wait", n)
			}
			compare(t, openFile(t, path), writers, !closed)
		})
	}
}

// act does one thing of its number, and InTx another of the next number.
func (w *randomWriter) act(number int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.random.IntN(4) == 0 {
		time.AfterFunc(time.Duration(w.random.IntN(3000))*time.Microsecond, cancel)
	}
	key := w.random.IntN(randomKeys)
	switch n := w.random.IntN(100); { // what ends a transaction is rare, so that there are some that others share
	case n < 1:
		w.fail(ctx, func(db *gorm.DB) *gorm.DB { return db.Exec("FROBNICATE") })
	case n < 2:
		w.fail(ctx, func(*gorm.DB) *gorm.DB { panic("test") })
	case n < 7:
		w.fail(ctx, func(db *gorm.DB) *gorm.DB { return db.Exec("INSERT INTO written VALUES (-1, NULL)") })
	case n < 15:
		w.insertTwo(ctx, number, number%4 == 0)
	case n < 35:
		w.step(ctx)
	default:
		w.insert(ctx, number, key)
	}
}

func (w *randomWriter) check(err error) {
	if err != nil {
		w.faults = append(w.faults, err)
	}
}

// insert adds a number under a key that others may have taken.
func (w *randomWriter) insert(ctx context.Context, number, key int) {
	asked := false
	n, err := w.s.write(ctx, func(db *gorm.DB) *gorm.DB {
		asked = true
		return db.Exec("INSERT INTO written VALUES (?, ?)", number, key)
	})
	switch {
	case err == nil && n == 1:
		w.written = append(w.written, number)
	case errors.Is(err, ErrDuplicate):
		w.refused[number] = key
	case !errors.Is(err, ErrUnavailable):
		w.check(fmt.Errorf("%d rows, %w", n, err))
	case asked:
		w.unknown = append(w.unknown, number)
	}
}

// insertTwo adds two numbers, or neither.
func (w *randomWriter) insertTwo(ctx context.Context, number int, takeBack bool) {
	finished := false
	err := w.s.InTx(ctx, func(tx *Store) error {
		for i := range 2 {
			if _, err := tx.write(ctx, func(db *gorm.DB) *gorm.DB {
				return db.Exec("INSERT INTO written VALUES (?, NULL)", number+i)
			}); err != nil {
				return err
			}
		}
		if takeBack {
			return ErrNotFound
		}
		finished = true
		return nil
	})
	switch {
	case err == nil:
		w.written = append(w.written, number, number+1)
	case finished:
		w.unknown = append(w.unknown, number, number+1)
	}
}

// step moves the counter, if nobody has meanwhile.
func (w *randomWriter) step(ctx context.Context) {
	from, err := read(ctx, w.s, func(db *gorm.DB, n *int) *gorm.DB { return db.Raw("SELECT n FROM counter").Scan(n) })
	if err != nil {
		return
	}
	asked := false
	n, err := w.s.write(ctx, func(db *gorm.DB) *gorm.DB {
		asked = true
		return db.Exec("UPDATE counter SET n = n + 1 WHERE n = ?", from)
	})
	switch {
	case err == nil && n == 1:
		w.steps = append(w.steps, from)
	case err != nil && asked:
		w.maybe++
	}
}

// fail runs a statement that cannot succeed.
func (w *randomWriter) fail(ctx context.Context, statement func(db *gorm.DB) *gorm.DB) {
	defer func() { _ = recover() }()
	if n, err := w.s.write(ctx, statement); !errors.Is(err, ErrUnavailable) || n != 0 {
		w.check(fmt.Errorf("what must fail gives %d rows, %w", n, err))
	}
}

// compare compares what is in the database with what the writers were told. complete says that most must have succeeded.
func compare(t *testing.T, s *Store, writers []*randomWriter, complete bool) {
	t.Helper()
	var rows []struct{ Number, Key int }
	if err := s.readers.db.Raw("SELECT number, key FROM written").Scan(&rows).Error; err != nil {
		t.Fatal(err)
	}
	there, keys := map[int]int{}, map[int]bool{}
	for _, row := range rows {
		there[row.Number]++
		keys[row.Key] = true
	}
	steps, maybe := map[int]int{}, 0
	for _, w := range writers {
		for _, err := range w.faults {
			t.Error(err)
		}
		for _, number := range w.written {
			if there[number] != 1 {
				t.Errorf("%d was confirmed, and is there %d times", number, there[number])
			}
			delete(there, number)
		}
		for i, number := range w.unknown {
			if number%2 == 1 && there[number] != there[w.unknown[i-1]] || there[number] > 1 {
				t.Errorf("%d was not confirmed, and is there %d times", number, there[number])
			}
		}
		for _, number := range w.unknown {
			delete(there, number)
		}
		for number, key := range w.refused {
			if !keys[key] {
				t.Errorf("%d was refused for a key %d that nobody has", number, key)
			}
		}
		for _, from := range w.steps {
			steps[from]++
		}
		maybe += w.maybe
	}
	if len(there) != 0 {
		t.Errorf("these are there, though their callers were told that they are not: %v", there)
	}
	var n int
	if err := s.readers.db.Raw("SELECT n FROM counter").Scan(&n).Error; err != nil {
		t.Fatal(err)
	}
	if n < len(steps) || n > len(steps)+maybe {
		t.Errorf("the counter is %d, after %d steps and at most %d more", n, len(steps), maybe)
	}
	for from, times := range steps {
		if times > 1 || from >= n {
			t.Errorf("%d were told that they moved the counter from %d, which is at %d", times, from, n)
		}
	}
	t.Logf("%d rows, %d steps of %d, %d keys", len(rows), len(steps), n, len(slices.Collect(maps.Keys(keys))))
	if complete && (len(keys) < randomKeys/4 || len(steps) == 0) {
		t.Errorf("only %d keys and %d steps were written", len(keys), len(steps))
	}
}
