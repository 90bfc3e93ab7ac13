package floors

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme builds every Go program that the README shows, and runs the tests.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, block := range strings.Split(string(text), "```go\n")[1:] {
		code, _, _ := strings.Cut(block, "```")
		n++
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "main.go")
			if err := os.WriteFile(file, []byte(code), 0o666); err != nil {
				t.Fatal(err)
			}
			// The file is laid over a folder of the module that is not there.
			pkg := fmt.Sprintf("internal/floors/testdata/readme%d", i+1)
			name, args, bin := "main.go", []string{"build"}, os.DevNull
			test := strings.Contains(code, "func Test")
			if test {
				name, args, bin = "readme_test.go", []string{"test", "-c", "-vet=off"}, filepath.Join(dir, "readme.test")
			}
			overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, pkg, name): file}})
			list := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(list, overlay, 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", append(args, "-overlay", list, "-o", bin, "./"+pkg)...)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("example %d of the README: %v\n%s", i+1, err, out)
			}
			if test {
				if out, err := exec.Command(bin, "-test.v").CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
					t.Errorf("example %d of the README: %v\n%s", i+1, err, out)
				}
			}
		})
	}
	if n < 3 {
		t.Errorf("the README has %d Go examples, want at least 3", n)
	}
}
