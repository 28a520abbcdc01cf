package password

import (
	"runtime"
	"sync"
	"time"
)

// calm is how long nobody has waited for a hash when the reserve is dismissed. To change the number of threads stops
// everything for a moment, so that is not done for each hash.
const calm = time.Second

// reserve is threads that the Go scheduler has only while somebody waits for a hash, which means that every thread may have one.
// A hash computes for tens of milliseconds without a pause. With as many threads more as there are hashes the kernel gives
// everybody else half of the processors; the Go scheduler alone would let them wait for the hashes to be preempted. When there
// are none, threads that look for work would cost every request.
type reserve struct {
	threads int

	mu    sync.Mutex
	until time.Time // zero while it is dismissed
}

// call has the threads there for a while.
func (r *reserve) call() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until.IsZero() {
		addThreads(r.threads)
		time.AfterFunc(calm, r.dismiss)
	}
	r.until = time.Now().Add(calm)
}

func (r *reserve) dismiss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rest := time.Until(r.until); rest > 0 {
		time.AfterFunc(rest, r.dismiss)
		return
	}
	addThreads(-r.threads)
	r.until = time.Time{}
}

// changingThreads lets several reserves of one process add up.
var changingThreads sync.Mutex

func addThreads(n int) {
	changingThreads.Lock()
	defer changingThreads.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}
