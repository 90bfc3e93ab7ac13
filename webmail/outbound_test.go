package webmail

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestNoWayOut: nothing of which webmail is made opens a connection, so that no mail and
// no form can make it ask for something.
func TestNoWayOut(t *testing.T) {
	forbidden := map[string][]string{
		"net/http": {"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "NewRequest", "NewRequestWithContext", "Transport", "DefaultTransport", "RoundTripper"},
		"net":      {"Dial", "DialTimeout", "Dialer", "Listen", "LookupHost", "LookupIP", "LookupAddr", "LookupMX", "LookupTXT", "Resolver", "DefaultResolver", "LookupCNAME"},
	}
	packages := map[string]bool{"crypto/tls": true, "net/smtp": true, "os/exec": true, "net/rpc": true, "plugin": true, "golang.org/x/net/websocket": true}
	files := 0
	for _, dir := range []string{".", "../internal/mailview", "../internal/message"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			files++
			set := gotoken.NewFileSet()
			f, err := parser.ParseFile(set, name, nil, 0)
			if err != nil {
				return err
			}
			local := map[string][]string{}
			for _, imp := range f.Imports {
				path, _ := strconv.Unquote(imp.Path.Value)
				if packages[path] {
					t.Errorf("%s imports %s", name, path)
				}
				if names := forbidden[path]; names != nil {
					as := path[strings.LastIndex(path, "/")+1:]
					if imp.Name != nil {
						as = imp.Name.Name
					}
					local[as] = names
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok {
					for _, bad := range local[x.Name] {
						if sel.Sel.Name == bad {
							t.Errorf("%s: %s.%s", set.Position(n.Pos()), x.Name, bad)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 30 {
		t.Errorf("only %d files were looked at", files)
	}
}
