package internal_test

import (
	"fmt"
	"go/version"
	"os"
	"regexp"
	"slices"
	"testing"
)

// floors are the least versions in which what is known to be wrong with these is mended, as far as it concerns a server
// like this one. The go directive keeps older compilers, and with them their standard library, from building it.
var floors = map[string]string{
	"github.com/golang-jwt/jwt/v5":      "v5.3.1",
	"github.com/go-chi/chi/v5":          "v5.3.0",
	"github.com/microsoft/go-mssqldb":   "v1.10.0",
	"github.com/rs/cors":                "v1.11.0",
	"github.com/swaggo/http-swagger/v2": "v2.0.0",
}

const goFloor = "1.26.6"

func TestVersionsAreNotBelowTheirFloors(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(text); found == nil || version.Compare("go"+string(found[1]), "go"+goFloor) < 0 {
		t.Errorf("go.mod asks for Go %q, want %s at least", found, goFloor)
	}
	for module, floor := range floors {
		found := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(module) + ` (v\S+)$`).FindSubmatch(text)
		if found == nil {
			t.Errorf("go.mod does not require %s: is its floor still of any use?", module)
		} else if slices.Compare(numbers(t, string(found[1])), numbers(t, floor)) < 0 {
			t.Errorf("%s is at %s, want %s at least", module, found[1], floor)
		}
	}
}

// numbers reads a version of three numbers, and of nothing behind them.
func numbers(t *testing.T, text string) []int {
	t.Helper()
	n := make([]int, 3)
	if _, err := fmt.Sscanf(text, "v%d.%d.%d", &n[0], &n[1], &n[2]); err != nil || fmt.Sprintf("v%d.%d.%d", n[0], n[1], n[2]) != text {
		t.Fatalf("%s is no release", text)
	}
	return n
}
