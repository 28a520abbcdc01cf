package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store/storetest"
)

// BenchmarkRefresh is what a refresh asks of the database, one read and one conditional write, of sessions at random. Its
// cost must not grow with the table: what to look at is the median, p50, for the mean has the disk's hiccups in it.
func BenchmarkRefresh(b *testing.B) {
	for _, size := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d sessions", size), func(b *testing.B) {
			url := storetest.Empty(b)
			s := storetest.OpenURL(b, url)
			fill(b, url, size)
			random := rand.New(rand.NewPCG(1, 2)) // the same sessions each time
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				row, err := s.SessionByID(b.Context(), filled(random.IntN(size)))
				if err != nil {
					b.Fatal(err)
				}
				next := row.Session
				next.Generation++
				next.IssuedAt = next.IssuedAt.Add(time.Millisecond)
				next.ParentHash = row.CurrentHash
				if ok, err := s.AdvanceSession(b.Context(), row.Session, next); !ok || err != nil {
					b.Fatal(ok, err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			for _, percent := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*percent/100].Nanoseconds()), fmt.Sprintf("p%d-ns", percent))
			}
		})
	}
}

// filled is the id of the n-th session that fill makes: its hexadecimal digits are n's decimal ones.
func filled(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("%032d", n)) }

// fill makes up to a million sessions, twenty for each user, by two statements.
func fill(b *testing.B, url string, size int) {
	b.Helper()
	id, hash, now := "unhex(printf('%032d', i))", "zeroblob(32)", fmt.Sprint(testTime.UnixMilli())
	if storetest.OnSQLServer() {
		id = "CONVERT(BINARY(16), RIGHT(REPLICATE('0', 32) + CAST(i AS VARCHAR(32)), 32), 2)"
		hash = "0x" + strings.Repeat("00", 32)
		now = "CAST('" + testTime.Format("2006-01-02T15:04:05.000") + "' AS DATETIME2(3))"
	}
	user := strings.NewReplacer(" i)", " i / 20)", "(i ", "(i / 20 ").Replace(id)
	const numbers = `WITH digits(d) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
			UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9),
		numbers(i) AS (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 100000 * g.d
			FROM digits a, digits b, digits c, digits e, digits f, digits g) `
	db := storetest.SQL(b, url)
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO users (id, username, canonical_name, password_hash, created_at)
			SELECT %s, CONCAT('u', i), CONCAT('u', i), 'hash', %s FROM numbers WHERE i < %d ORDER BY i`, id, now, (size+19)/20),
		fmt.Sprintf(`INSERT INTO sessions (id, user_id, generation, oldest_generation, current_hash, issued_at, created_at, user_agent, ip)
			SELECT %s, %s, 1, 1, %s, %s, %s, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '192.0.2.1'
			FROM numbers WHERE i < %d ORDER BY i`, id, user, hash, now, now, size),
	} {
		if _, err := db.ExecContext(b.Context(), numbers+statement); err != nil {
			b.Fatal(err)
		}
	}
}
