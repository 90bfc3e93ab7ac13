package cleanhtml

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// seeds are texts on which sanitisers were broken: inputs of parser tests, and all payloads of the webmail.
func seeds(t testing.TB) []string {
	f, err := os.Open("testdata/html5lib.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if line := sc.Text(); strings.HasPrefix(line, `"`) {
			s, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			out = append(out, s)
		}
	}
	if len(out) < 1500 {
		t.Fatalf("only %d inputs: %v", len(out), sc.Err())
	}
	files, _ := filepath.Glob("../testdata/*/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "\n\n") {
			if _, body, ok := strings.Cut(part, "\n"); ok {
				out = append(out, body)
			}
		}
	}
	return out
}

var small = Options{MaxBytes: 64 << 10}

// TestParserTests cleans the inputs of the tests of HTML parsers, alone and inside of elements that change how they are read.
func TestParserTests(t *testing.T) {
	around := []string{"%", "<table>%", "<p><b>%</b>x", "<svg>%", "<math><mtext>%", "<table><tr><td><a href=http://x/>%</table>", "<style>%", "<ul><li>%", "<pre>%", "<noscript>%"}
	n := 0
	for i, s := range seeds(t) {
		for j, a := range around {
			// All of them alone, and each inside of two others; of all with MAILKEEL_LONG.
			if j > 0 && i%(len(around)-1) != j-1 && (i+4)%(len(around)-1) != j-1 && os.Getenv("MAILKEEL_LONG") == "" {
				continue
			}
			holds(t, strings.Replace(a, "%", s, 1), small)
			n++
		}
	}
	t.Logf("%d inputs", n)
}

func FuzzClean(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		holds(t, s, small)
		holds(t, s, Options{MaxBytes: 300, MaxDepth: 8, MaxElements: 12, Remote: true})
	})
}

func FuzzStyle(f *testing.F) {
	for _, s := range []string{
		"color:red", "background:url(http://x/y) #fff no-repeat", "background:url('data:image/png;base64,AA==')", "font:12px/1.5 'Open Sans',serif",
		"width:calc(100% - (2px * 3))", `\62 ackground:url(x)`, "color:r\\65 d", "a:b;c", "x{y:z}", "margin:-1px", "/*", "'", `"\`, "url(", "@media screen{a{b:c}}",
		"position:relative!important", "width:1e3px", "content:'</style><script>'", "color:rgb(1,2,3)}*{color:red", "<!-- a{color:red} -->", "a>b~c+d e{color:red}", "[class=x]{color:red}",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, attr, sheet string) {
		attr = strings.NewReplacer("&", "&amp;", `"`, "&quot;").Replace(attr)
		for _, remote := range []bool{false, true} {
			holds(t, `<style>`+sheet+`</style><p style="`+attr+`">x`, Options{MaxBytes: 32 << 10, Remote: remote})
		}
	})
}
