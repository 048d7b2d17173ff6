package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestPageIsBundled holds the committed file to its sources.
func TestPageIsBundled(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := bundlePage(root)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(root, pageModule))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what its sources make: go run ./scripts/build -page", pageModule)
	}
}

// A source that does not parse leaves the committed file alone.
func TestPageWithAMistake(t *testing.T) {
	root := t.TempDir()
	source := filepath.Join(root, "shared", "web", "src", "index.js")
	if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		source: "export const = 1;",
		filepath.Join(root, "shared", "web", "package.json"): `{"name": "x", "version": "1"}`,
		filepath.Join(root, pageModule):                      "kept",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writePage(root); err == nil {
		t.Error("no error for a source that does not parse")
	}
	have, err := os.ReadFile(filepath.Join(root, pageModule))
	if err != nil || string(have) != "kept" {
		t.Errorf("%q %v", have, err)
	}
}
