package store_test

import (
	"os"
	"testing"

	"latchkey/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
