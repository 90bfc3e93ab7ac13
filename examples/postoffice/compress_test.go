package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompress starts with and without -compress in turn: what is kept is smaller
// or not, and all of it is read.
func TestCompress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	letter := func(word string) string { return letter + strings.Repeat(word+" is what this says. ", 100) + "\r\n" }
	for i, tt := range []struct {
		word string
		args []string
	}{
		{"small", []string{"-compress", "-account", "ann@x.test:secret-of-ann"}},
		{"plain", nil},
	} {
		o := start(t, dir, tt.args...)
		if err := send(o.at["smtp"], "", "", "zoe@example.net", "ann@x.test", letter(tt.word)); err != nil {
			t.Fatal(err)
		}
		all := o.inbox("ann@x.test", "secret-of-ann")
		if len(all) != i+1 || !strings.HasSuffix(all[0], letter("small")) || !strings.HasSuffix(all[i], letter(tt.word)) {
			t.Errorf("%s: read %q", tt.word, all)
		}
		o.stop()
		if kept := holds(t, dir, strings.Repeat(tt.word+" is what this says. ", 2)); kept != (tt.word == "plain") {
			t.Errorf("%s: kept as it came is %v", tt.word, kept)
		}
	}
}

// holds reports whether a segment holds text as it is.
func holds(t *testing.T, dir, text string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "packs", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}
