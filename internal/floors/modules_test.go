package floors

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/modules.txt anew")

// TestModulesLinked compares the third-party modules that a program gets with
// each package against a list, so that a new dependency shows in a diff.
func TestModulesLinked(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}|{{with .Module}}{{.Path}}{{end}}|{{join .Imports \" \"}}", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type pkg struct {
		module  string
		imports []string
	}
	pkgs := map[string]pkg{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		pkgs[f[0]] = pkg{f[1], strings.Fields(f[2])}
	}
	var got bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(pkgs)) {
		if pkgs[path].module != module {
			continue
		}
		linked, seen := map[string]bool{}, map[string]bool{}
		var walk func(string)
		walk = func(p string) {
			if seen[p] {
				return
			}
			seen[p] = true
			if m := pkgs[p].module; m != "" && m != module {
				linked[m] = true
			}
			for _, i := range pkgs[p].imports {
				walk(i)
			}
		}
		walk(path)
		name := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(path, module), "/"), ".")
		fmt.Fprintf(&got, "%s: %s\n", name, strings.Join(slices.Sorted(maps.Keys(linked)), " "))
	}
	golden := filepath.Join("testdata", "modules.txt")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("the modules that packages link have changed; if that is meant, run go test ./internal/floors -update\n%s", difference(string(want), got.String()))
	}
}

// difference lists the lines that only one of the texts has.
func difference(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, l := range w {
		if !slices.Contains(g, l) {
			fmt.Fprintf(&b, "- %s\n", l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			fmt.Fprintf(&b, "+ %s\n", l)
		}
	}
	return b.String()
}
