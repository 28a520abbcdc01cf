package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var resultWord = regexp.MustCompile(`^[a-z_]+$`)

// declared reads the constants of audit.go: each action with the words of the comment beside it that are in the form
// of a result.
func declared(t *testing.T) (actions []Action, results map[Action][]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "audit.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	results = map[Action][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Action" {
			return true
		}
		text, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		action := Action(text)
		actions = append(actions, action)
		words := strings.TrimSpace(spec.Comment.Text())
		if _, after, explained := strings.Cut(words, ": "); explained {
			words = after
		}
		for word := range strings.SplitSeq(words, ", ") {
			if resultWord.MatchString(word) {
				results[action] = append(results[action], word)
			}
		}
		return true
	})
	return actions, results
}

func TestActionsAreAllOfThem(t *testing.T) {
	actions, _ := declared(t)
	if len(actions) < 10 || !slices.Equal(actions, Actions()) {
		t.Errorf("Actions gives %v, and the constants are %v", Actions(), actions)
	}
	for _, a := range actions {
		if len(a) > MaxField {
			t.Errorf("%s is too long for its column", a)
		}
	}
}

func TestDocumentHasTheActionsAndTheirResults(t *testing.T) {
	text, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []Action
	rows := map[Action]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(row[0], "`action`") || !slices.Contains(Actions(), Action(row[1])) && !strings.Contains(row[1], ".") {
			continue // a field of the event
		}
		documented = append(documented, Action(row[1]))
		rows[Action(row[1])] = row[2]
	}
	if !slices.Equal(documented, Actions()) {
		t.Errorf("docs/audit.md has the actions %v, want %v", documented, Actions())
	}
	_, results := declared(t)
	for action, words := range results {
		for _, word := range words {
			if !strings.Contains(rows[action], "`"+word+"`") {
				t.Errorf("docs/audit.md lacks the result %s of %s", word, action)
			}
		}
	}
}
