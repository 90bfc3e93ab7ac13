package mailtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The test of a stranger: eight lines.
const strangersTest = `package stranger

import (
	"net/smtp"
	"testing"

	"github.com/mailkeel/mailkeel/mailtest"
)

func TestWelcome(t *testing.T) {
	srv := mailtest.New(t)
	err := smtp.SendMail(srv.SMTPAddr(), nil, "app@example.net", []string{"ann@example.test"}, []byte("Subject: Welcome\r\n\r\nHello Ann\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m := srv.Wait(t.Context(), mailtest.To("ann@example.test").Subject("Welcome")); m.Text() != "Hello Ann\n" {
		t.Errorf("got %s", m)
	}
}
`

// TestAStrangerCanUseIt: a module of its own that requires only this one builds and runs
// it, without cgo, with few modules behind it and no database driver.
func TestAStrangerCanUseIt(t *testing.T) {
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module stranger\n\ngo 1.26\n\nrequire github.com/mailkeel/mailkeel v0.0.0\n\nreplace github.com/mailkeel/mailkeel => " + here + "\n",
		"stranger_test.go": strangersTest,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		// All is in the module cache, for this module needs it too.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GONOSUMDB=*", "GOSUMDB=off", "CGO_ENABLED=0", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("mod", "tidy")
	run("test", ".")
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(sum)) {
		if f := strings.Fields(line); len(f) == 3 && !strings.HasSuffix(f[1], "/go.mod") && !slices.Contains(modules, f[0]) {
			modules = append(modules, f[0])
		}
	}
	if len(modules) > 20 {
		t.Errorf("%d modules in go.sum, and 20 is the most:\n%s", len(modules), strings.Join(modules, "\n"))
	}
	for _, m := range modules {
		for _, driver := range []string{"sqlite", "pgx", "modernc.org"} {
			if strings.Contains(m, driver) {
				t.Errorf("%s is there", m)
			}
		}
	}
	t.Logf("%d modules", len(modules))
}
