package dialog_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/dialog"
)

// parrot says hello, repeats each line twice, and ends at "bye". "two" is said in
// the other order.
func parrot(c net.Conn) {
	defer c.Close()
	io.WriteString(c, "hello 42\r\n")
	br := bufio.NewReader(c)
	for {
		s, err := br.ReadString('\n')
		if err != nil || strings.HasPrefix(s, "bye") {
			return
		}
		fmt.Fprintf(c, "1 %s2 %s", s, s)
	}
}

func runner(t *testing.T) *dialog.Runner {
	return &dialog.Runner{
		Dial: func() (net.Conn, error) {
			a, b := net.Pipe()
			go parrot(b)
			return a, nil
		},
		Do:    map[string]func(string) error{"log": func(s string) error { t.Log(s); return nil }},
		Trace: func(s string) { t.Log(s) },
	}
}

func TestFiles(t *testing.T) { dialog.RunFiles(t, "testdata/*.txt", runner) }

func TestWhatIsNotSaidFails(t *testing.T) {
	for script, want := range map[string]string{
		"S: hello 43":                       `1: got  "hello 42"`,
		"S~ hello [a-z]+":                   "1: got",
		"S: hello 42\nC: x\nS* 2 x\nS* 3 x": "3: got",
		"S= \"help\"":                       "1: got",
		"S: hello 42\nC: bye\nS: more":      "3: want",
		"X: what":                           "1: not a step",
		"= nothing":                         "1: no function",
		"S~ hello (":                        "1: error parsing regexp",
		"C= bare":                           "1: invalid syntax",
		"S~ (?P<a>[a-z]+) 42\nC: $a\nS: 1 hello\nS: 2 hallo": "4: got",
	} {
		err := runner(t).Play(script)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", script, err, want)
		}
	}
}

func Example() {
	r := dialog.Runner{Dial: func() (net.Conn, error) {
		a, b := net.Pipe()
		go parrot(b)
		return a, nil
	}}
	fmt.Println(r.Play("S: hello 42\nC: x\nS: 1 x\nS: 2 x"))
	fmt.Println(r.Play("S: hello 41"))
	// Output:
	// <nil>
	// 1: got  "hello 42"
	// want ["hello 41"]
}

func TestSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("# x\nS: hello\nC: one\nC2: two\nC: $three\nC= \"four\\x00\"\nC!\n= tls\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := dialog.Said(filepath.Join(dir, "*.txt"), func(l string) bool { return l != "two" })
	if err != nil || len(got) != 1 || got[0] != "one\r\n$three\r\nfour\x00" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := dialog.Said(filepath.Join(dir, "*.txt"), nil); err != nil || len(got) != 2 || got[1] != "two\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := dialog.Said(filepath.Join(dir, "none*"), nil); err == nil {
		t.Error("no files are no dialogs")
	}
}
