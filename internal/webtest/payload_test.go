package webtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// payload is one entry of a file below webmail/testdata.
type payload struct {
	class, name string
	opts        map[string]string
	body        []byte
}

func (p *payload) String() string { return p.class + "/" + p.name }

// kind is the media type of the part that carries it.
func (p *payload) kind() string {
	kind, charset := "text/html", "utf-8"
	if p.opts["type"] != "" {
		kind = p.opts["type"]
	}
	if p.opts["charset"] != "" {
		charset = p.opts["charset"]
	}
	return kind + "; charset=" + charset
}

// payloads reads the files of one folder: a line "### name; option; option=value",
// and all until the next one. With the option go the text is that of a Go string.
func payloads(t *testing.T, folder string) []*payload {
	t.Helper()
	files, err := filepath.Glob("../../webmail/testdata/" + folder + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no payloads", err)
	}
	var all []*payload
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range bytes.Split(append([]byte("\n"), text...), []byte("\n### ")) {
			if i == 0 {
				continue // what the file is about
			}
			head, body, _ := strings.Cut(string(part), "\n")
			opts := strings.Split(head, "; ")
			p := &payload{class: strings.TrimSuffix(filepath.Base(file), ".txt"), name: opts[0], opts: map[string]string{}}
			for _, o := range opts[1:] {
				k, v, _ := strings.Cut(o, "=")
				p.opts[k] = v
			}
			body = strings.TrimSuffix(body, "\n")
			if _, ok := p.opts["go"]; ok {
				// Quotes stand as they are, only backslashes mean something.
				if body, err = strconv.Unquote(`"` + strings.NewReplacer(`"`, `\"`, "\n", `\n`).Replace(body) + `"`); err != nil {
					t.Fatalf("%v: %v", p, err)
				}
			}
			p.body = []byte(strings.TrimSuffix(body, "\n"))
			all = append(all, p)
		}
	}
	return all
}
