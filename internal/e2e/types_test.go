//go:build e2e

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The types of the client are those of the API, its code keeps to them, and they catch what an app gets wrong.
func TestTypesOfTheClient(t *testing.T) {
	a := newApp(t)
	for _, name := range []string{"contract.ts", "usage.ts", "tsconfig.json"} {
		content, err := os.ReadFile("testdata/types/" + name)
		if err != nil {
			t.Fatal(err)
		}
		a.write(name, string(content))
	}
	a.run(spaExample(t, "install"))
	shown := regexp.MustCompile("(?s)```js\n(.*?)```").FindStringSubmatch(a.read("../latchkey/api/client/README.md"))
	if shown == nil {
		t.Fatal("README.md shows no use")
	}
	a.write("readme.ts", "declare const home: Node, form: Node, show: (page: Node) => void, showOffline: () => void\n"+shown[1])
	const head = "export function createClient("
	client := a.read("node_modules/latchkey-client/client.js")
	if strings.Count(client, head) != 1 {
		t.Fatalf("client.js has no %q", head)
	}
	a.write("implementation.js", strings.Replace(client, head, `/** @type {typeof import("latchkey-client").createClient} */`+"\n"+head, 1))
	a.run("openapi-typescript ../latchkey/api/openapi.yaml -o openapi.d.ts && tsc --project .")
}
