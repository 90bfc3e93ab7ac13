// Package floors checks that packages import only downwards.
package floors

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mailkeel/mailkeel"

// What stands on the floors. A key that ends in a slash is for all below it; the
// longest match wins.
const (
	words = iota
	contracts
	engines
	parts
	doors
	servers
	testServer
	programs
)

var floor = map[string]int{
	"": words, "store/blob": words, "store/blob/blobtest": words, "internal/": words,
	"internal/mailview": parts, // shared by two doors, over the store
	"webmail/cleanhtml": words, // knows HTML, not mail

	"accounts": contracts, "delivery": contracts, "filter": contracts, "sieve": contracts,
	"accounts/accountstest": contracts, "accounts/sasl": contracts, "accounts/password": contracts, "delivery/deliverytest": contracts, "filter/filtertest": contracts,

	"queue": engines, "store": engines, "store/search": engines,
	"queue/queuetest": engines, "store/storetest": engines,

	"store/": parts, "store/blob/": parts, "store/search/": parts, "queue/": parts,
	"delivery/": parts, "filter/": parts, "accounts/": parts,

	"smtp": doors, "imap": doors, "pop3": doors, "jmap": doors, "webmail": doors, "sieve/managesieve": doors,
	"server": servers, "server/": servers, "mailtest": testServer,
	"examples/": programs, "bench": programs, "bench/": programs,
}

// height returns the floor of a package, and false if it has none.
func height(pkg string) (int, bool) {
	best, h := -1, 0
	for p, f := range floor {
		if (p == pkg || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p)) && len(p) > best {
			best, h = len(p), f
		}
	}
	return h, best >= 0
}

// suite reports whether pkg is a conformance suite.
func suite(pkg string) bool {
	return path.Dir(pkg) != "." && path.Base(pkg) == path.Base(path.Dir(pkg))+"test"
}

// wrong says what is wrong with an import, or returns "".
func wrong(from, to string) string {
	own := to == module || strings.HasPrefix(to, module+"/")
	first, _, _ := strings.Cut(to, "/")
	if !own {
		if strings.Contains(first, ".") && (from == "" || from == "store/blob" || suite(from)) {
			return fmt.Sprintf("%q may import only the standard library, not %s", from, to)
		}
		return ""
	}
	to = strings.TrimPrefix(strings.TrimPrefix(to, module), "/")
	f, ok := height(from)
	t, ok2 := height(to)
	family := path.Dir(from) == to || path.Dir(to) == from // a suite and what it checks
	switch {
	case !ok || !ok2:
		return fmt.Sprintf("%q or %q has no floor", from, to)
	case t > f:
		return fmt.Sprintf("%q (floor %d) imports %q (floor %d)", from, f, to, t)
	case f == doors && t == parts && !strings.HasPrefix(to, "internal/"):
		return fmt.Sprintf("%q is a door and imports the backend %q", from, to)
	case t < f, f == words, family && f != parts, from == "webmail" && to == "jmap":
		return ""
	}
	return fmt.Sprintf("%q imports its neighbour %q on floor %d", from, to, f)
}

func TestImportsGoDown(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		from, _ := filepath.Rel(root, filepath.Dir(file))
		if from = filepath.ToSlash(from); from == "." {
			from = ""
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			to, _ := strconv.Unquote(imp.Path.Value)
			if w := wrong(from, to); w != "" {
				t.Error(w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"store", "", true},
		{"", "store", false},
		{"store/blob", "internal/vfs", true},
		{"store", "queue", false},
		{"queue", "store/blob", true},
		{"filter", "accounts", false},
		{"store/storetest", "store", true},
		{"store/memstore", "store/storetest", true},
		{"store/sqlstore", "store/memstore", false},
		{"delivery/mailbox", "store", true},
		{"delivery/script", "delivery/mailbox", false},
		{"smtp", "queue", true},
		{"smtp", "queue/memqueue", false},
		{"webmail", "jmap", true},
		{"jmap", "webmail", false},
		{"jmap", "internal/mailview", true},
		{"internal/mailview", "store", true},
		{"internal/vfs", "store", false},
		{"sieve/managesieve", "sieve", true},
		{"server", "smtp", true},
		{"server/embedded", "server", true},
		{"mailtest", "server", true},
		{"server", "mailtest", false},
		{"examples/minimal", "mailtest", true},
		{"nowhere", "store", false},
	} {
		to := strings.TrimSuffix(module+"/"+tt.to, "/")
		if w := wrong(tt.from, to); (w == "") != tt.ok {
			t.Errorf("%q imports %q: %q, want ok %v", tt.from, tt.to, w, tt.ok)
		}
	}
	if wrong("store/blob", "golang.org/x/text") == "" || wrong("queue/queuetest", "golang.org/x/text") == "" || wrong("smtp", "golang.org/x/text") != "" {
		t.Error("third-party imports are judged wrongly")
	}
}
