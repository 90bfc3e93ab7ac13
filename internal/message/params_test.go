package message

import (
	"fmt"
	"strings"
	"testing"
)

func shortParams(list []Param) string {
	var s []string
	for _, p := range list {
		s = append(s, fmt.Sprintf("%s=%q", p.Name, p.Value))
	}
	return strings.Join(s, " ")
}

var paramLists = []struct{ in, want string }{
	{"", ""},
	{";", ""},
	{"; a=b", `a="b"`},
	{";a=b;c=d", `a="b" c="d"`},
	{`; A="b c"`, `a="b c"`},
	{`; a="b;c"; d=e`, `a="b;c" d="e"`},
	{`; a="b\"c\\d"`, `a="b\"c\\d"`},
	{`; a = b ; c = "d"`, `a="b" c="d"`},
	{`; a=b (comment); c=d`, `a="b" c="d"`},
	{`; (comment) a (x) = (y) b (z)`, `a="b"`},
	{`;(e)a(f)=(g)b`, `a="b"`},
	{`; a(b=c`, `(b="c"`},
	{`; a=us-ascii (Plain text)`, `a="us-ascii"`},
	{`; name=a b.txt`, `name="a b.txt"`},
	{`; name=a (1).txt; x=y`, `name="a (1).txt" x="y"`},
	{`; name=a b=c`, `name="a" b="c"`},
	{` a=b c=d`, `a="b" c="d"`},
	{`; a="b" c="d"`, `a="b" c="d"`},
	{`; a="b`, `a="b"`},
	{`; a="b\`, `a="b\\"`},
	{`; a=`, `a=""`},
	{`; a=""`, `a=""`},
	{`; a; b=c`, `b="c"`},
	{`; =x; b=c`, `b="c"`},
	{`; a=b; a=c`, `a="b"`},
	{`; a=b=c`, `a="b=c"`},
	{`; name="a.txt".exe; b=c`, `name="a.txt" b="c"`},
	{`; a=(b`, `a="(b"`},

	{`; name*=utf-8''%c3%a4.txt`, "name=\"\u00e4.txt\""},
	{`; name*=iso-8859-1'de'%e4.txt`, "name=\"\u00e4.txt\""},
	{`; name*=UTF-8''a%20b`, `name="a b"`},
	{`; name*="utf-8''%c3%a4"`, "name=\"\u00e4\""},
	{`; name*=%c3%a4`, "name=\"\u00e4\""},
	{`; name*=a'b`, `name="a'b"`},
	{`; name*=utf-8''100%`, `name="100%"`},
	{`; name*=utf-8''a%0d%0ab%00`, `name="a  b "`},
	{`; name*0=a; name*1=b; name*2=c`, `name="abc"`},
	{`; name*2=c; name*0=a; name*1=b`, `name="abc"`},
	{`; name*0=a; name*2=c`, `name="ac"`},
	{`; name*0=a; name*0=b; name*1=c`, `name="ac"`},
	{`; name*0*=utf-8''%c3; name*1*=%a4; name*2=".txt"`, "name=\"\u00e4.txt\""},
	{`; name*0="%41"; name*1*=%42`, `name="%41B"`},
	{`; name=plain; name*=utf-8''whole; name*0=piece`, `name="whole"`},
	{`; name=plain; name*0=piece`, `name="piece"`},
	{`; name*x=a`, `name*x="a"`},
	{`; *=a`, `*="a"`},
	{`; name*99999999999=a`, `name*99999999999="a"`},
	{`; name*=unknown-set''%e4`, "name=\"\u00e4\""},

	{`; name="=?utf-8?b?w6Q=?="`, "name=\"\u00e4\""},
	{`; name==?utf-8?q?=C3=A4?=`, "name=\"\u00e4\""},
	{`; filename="=?utf-8?q?a?= =?utf-8?q?b?="`, `filename="ab"`},
	{`; filename*0="=?utf-8?q?a"; filename*1="b?="`, `filename="ab"`},
	{`; filename*="=?utf-8?q?a?="`, `filename="=?utf-8?q?a?="`},
	{`; charset="=?utf-8?q?a?="`, `charset="=?utf-8?q?a?="`},
	{`; boundary="=?utf-8?q?a?="`, `boundary="=?utf-8?q?a?="`},
	{"; name=\"\xe4\"", "name=\"\u00e4\""},
	{"; name=\"\xc3\xa4\"", "name=\"\u00e4\""},
	{"; name=\"a\x01b\"", `name="a b"`},
}

func TestParams(t *testing.T) {
	for _, tt := range paramLists {
		var steps int64
		if got := shortParams(parseParams(tt.in, &steps)); got != tt.want {
			t.Errorf("%q\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, tt := range paramLists {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var steps int64
		list := parseParams(s, &steps)
		if len(list) > maxParams || steps > 10*int64(len(s))+10 {
			t.Errorf("%d parameters in %d steps for %d bytes", len(list), steps, len(s))
		}
		seen := make(map[string]bool)
		for _, p := range list {
			if p.Name == "" || seen[p.Name] {
				t.Errorf("%q: %s", s, shortParams(list))
			}
			seen[p.Name] = true
			if p.Name != "boundary" && strings.ContainsAny(p.Value, "\r\n\x00") {
				t.Errorf("%q: control characters in %q", s, p.Value)
			}
		}
	})
}

// Every way to write one name must give that name, or a filter that looks for it is
// evaded (CVE-2024-39929).
func TestTwoHundredWaysToNameAnAttachment(t *testing.T) {
	values := []string{
		`%s=x.exe`, `%s="x.exe"`, `%s = "x.exe"`, `%s="x.e\xe"`, `%s="\x\.\e\x\e"`, `%s=x.exe (comment)`, `%s=(comment)x.exe`,
		`%s*=x.exe`, `%s*=''x.exe`, `%s*=utf-8''x.exe`, `%s*=utf-8'en'x.exe`, `%s*=us-ascii''x%%2Eexe`, `%s*=utf-8''%%78%%2e%%65%%78%%65`, `%s*="utf-8''x.exe"`,
		`%s*0=x.e; %[1]s*1=xe`, `%s*0="x."; %[1]s*1="exe"`, `%s*1=xe; %[1]s*0=x.e`, `%s*0*=utf-8''x.; %[1]s*1*=%%65xe`, `%s*0*=utf-8''x; %[1]s*1=.exe`,
		`%s*0=x; %[1]s*1=.; %[1]s*2=e; %[1]s*3=x; %[1]s*4=e`, `%s=a.txt; %[1]s*=utf-8''x.exe`, `%s*=utf-8''x.exe; %[1]s=a.txt`, `%s=a.txt; %[1]s*0=x.exe`, `%s*0=x.exe; %[1]s=a.txt`,
		`%s="=?utf-8?q?x.exe?="`, `%s==?utf-8?q?x.exe?=`, `%s="=?utf-8?b?eC5leGU=?="`, `%s="=?utf-8?q?x=2Eexe?="`, `%s="=?us-ascii?Q?x?= =?us-ascii?Q?.exe?="`,
		`%s="=?iso-8859-1?b?eC5l?= =?iso-8859-1?b?eGU=?="`, `%s="=?utf-7?q?x.exe?="`, `%s="=?utf-8*en?q?x.exe?="`, `%s="x=?utf-8?q?.exe?="`,
		`%s="x.exe`, ` %s=x.exe`,
	}
	shapes := []struct{ field, param, before string }{
		{"Content-Disposition", "filename", "attachment; "}, {"Content-Disposition", "filename", "attachment;\r\n\t"}, {"CONTENT-DISPOSITION", "FileName", "attachment ;\n "},
		{"Content-Disposition", "filename", "attachment; size=1; "}, {"Content-Disposition", "filename", "; "}, {"Content-Type", "name", "application/octet-stream; "},
		{"content-type", "NAME", "application/octet-stream;\r\n "},
	}
	n := 0
	for _, v := range values {
		for _, s := range shapes {
			n++
			content := s.field + ": " + s.before + fmt.Sprintf(v, s.param) + "\r\n\r\n"
			m := parse(t, content)
			got := param(m.Root.DispositionParams, "filename") + param(m.Root.Params, "name")
			if got != "x.exe" {
				t.Errorf("%q names %q", content, got)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d ways", n)
	}
}
