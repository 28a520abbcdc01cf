package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"latchkey/internal/store"
)

// All that come to an empty pool at once get in, whoever takes the connection that another one has asked for.
func TestAllWhoConnectAtOnceGetIn(t *testing.T) {
	s := (&wire{greeting: 100 * time.Millisecond}).open(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, err := s.UserByID(t.Context(), id(i)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("number %d gets %v", i, err)
			}
		})
	}
	group.Wait()
}
