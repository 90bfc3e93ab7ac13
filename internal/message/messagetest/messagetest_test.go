package messagetest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/message"
	"github.com/mailkeel/mailkeel/internal/message/messagetest"
)

var update = flag.Bool("update", false, "write what is shown into the table")

func TestNamesAreShownAsTheTableSays(t *testing.T) {
	all := messagetest.Names()
	if len(all) < 200 {
		t.Fatalf("%d names", len(all))
	}
	table, err := os.ReadFile("xexe.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(strings.SplitAfterN(string(table), "\n== ", 2)[0])
	titles := map[string]bool{}
	for i, n := range all {
		m, err := message.Parse(strings.NewReader(n.Message()))
		if err != nil || len(m.Root.Parts) != 2 || titles[n.Title] {
			t.Fatalf("%s: %+v, %v", n.Title, m, err)
		}
		titles[n.Title] = true
		shown := param(m.Root.Parts[1].DispositionParams, "filename")
		if shown == "" {
			shown = param(m.Root.Parts[1].Params, "name")
		}
		if i > 0 {
			out.WriteString("== ")
		}
		fmt.Fprintf(&out, "%s\n%s-> %s\n", n.Title, strings.ReplaceAll(n.Header, "\r\n", "\n"), shown)
		if shown != n.Shown && !*update {
			t.Errorf("%s: %q, want %q", n.Title, shown, n.Shown)
		}
	}
	if *update {
		if err := os.WriteFile("xexe.txt", []byte(out.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func param(params []message.Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

func Example() {
	n := messagetest.Names()[0]
	fmt.Printf("%s: %s", n.Title, n.Shown)
	// Output: disposition, token: x.exe
}
