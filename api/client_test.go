package api_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"

	"latchkey/api"
)

// A client that is loaded before anything else can be shown has to stay small: README.md promises this size.
func TestSizeOfTheClient(t *testing.T) {
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, 5) // as the server does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(api.Client); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("client.js has %d bytes, compressed %d", len(api.Client), compressed.Len())
	if compressed.Len() >= 4096 {
		t.Errorf("client.js has %d bytes compressed, want less than 4096", compressed.Len())
	}
}

// npm takes a licence into a package only from the package's own folder, and no link: so there is a copy.
func TestLicenceOfTheClient(t *testing.T) {
	copied, err := os.ReadFile("client/LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile("../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(copied, original) {
		t.Error("client/LICENSE is not ../LICENSE")
	}
}
