package mailfiles

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

func list(t *testing.T, fsys fstest.MapFS) (out []string) {
	t.Helper()
	for it, err := range Read(fsys) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s|%s|%s|%v|%s|%q", it.Path, it.Account, it.Mailbox, it.Flags, it.From, it.Raw))
	}
	return out
}

func TestRead(t *testing.T) {
	got := list(t, fstest.MapFS{
		"a.eml":                         {Data: []byte("Subject: a\n\nx\n")},
		"README.txt":                    {Data: []byte("no mail")},
		"ann@x.test/INBOX/1.eml":        {Data: []byte("Subject: 1\r\n\r\nx")},
		"ann@x.test/Odd_name/1.eml":     {Data: []byte("Subject: 2\n\n")},
		"ann@x.test/Odd_name/1.json":    {Data: []byte(`{"account":"Ann@x.test","mailbox":"Odd/name","flags":["\\Seen","work"],"from":"z@y"}`)},
		"box.mbox":                      {Data: []byte("From z@y Thu Jan  1 00:00:00 2026\nSubject: m1\n\n>From me\n>>From you\n\nFrom MAILER-DAEMON x\nSubject: m2\n\nFrom the middle\n")},
		"mbox":                          {Data: []byte("From z@y x\nSubject: m3\n\nx\n")},
		"notes":                         {Data: []byte("nothing")},
		"ann@x.test/Maildir/cur/1:2,FS": {Data: []byte("Subject: c\n\n")},
		"ann@x.test/Maildir/new/2":      {Data: []byte("Subject: n\n\n")},
		"ann@x.test/Maildir/tmp/3":      {Data: []byte("Subject: t\n\n")},
		".Sent.2026/cur/1:2,":           {Data: []byte("Subject: s\n\n")},
		".Sent.2026/new/x":              {Data: []byte("Subject: s2\n\n")},
	})
	want := []string{
		`.Sent.2026/1|||[]||"Subject: s\r\n\r\n"`,
		`.Sent.2026/x|||[]||"Subject: s2\r\n\r\n"`,
		`a|||[]||"Subject: a\r\n\r\nx\r\n"`,
		`ann@x.test/INBOX/1|ann@x.test|INBOX|[]||"Subject: 1\r\n\r\nx"`,
		`ann@x.test/Maildir/1|ann@x.test|Maildir|[\Seen \Flagged]||"Subject: c\r\n\r\n"`,
		`ann@x.test/Maildir/2|ann@x.test|Maildir|[]||"Subject: n\r\n\r\n"`,
		`ann@x.test/Odd_name/1|Ann@x.test|Odd/name|[\Seen work]|z@y|"Subject: 2\r\n\r\n"`,
		`box/00001||box|[]|z@y|"Subject: m1\r\n\r\nFrom me\r\n>From you\r\n"`,
		`box/00002||box|[]||"Subject: m2\r\n\r\nFrom the middle\r\n"`,
		`mbox/00001||mbox|[]|z@y|"Subject: m3\r\n\r\nx\r\n"`,
	}
	want[0], want[1] = `.Sent.2026/1||Sent/2026|[]||"Subject: s\r\n\r\n"`, `.Sent.2026/x||Sent/2026|[]||"Subject: s2\r\n\r\n"`
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			g, w := "", ""
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = want[i]
			}
			if g != w {
				t.Errorf("%d\n got %s\nwant %s", i, g, w)
			}
		}
	}
	for _, err := range Read(fstest.MapFS{"a.eml": {Data: []byte("x")}, "a.json": {Data: []byte("{")}}) {
		if err == nil {
			t.Error("broken JSON was taken")
		}
	}
}

// TestWriteThenRead: what is written is what is read, whatever the names.
func TestWriteThenRead(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	items := []Item{
		{Account: "ann@x.test", Mailbox: "INBOX", Flags: []string{`\Seen`}, Received: at, From: "z@y", To: []string{"ann@x.test"}, Raw: []byte("Subject: 1\r\n\r\nx\r\n")},
		{Account: "ann@x.test", Mailbox: "INBOX", Received: at, Raw: []byte("Subject: 2\r\n\r\nFrom x\r\n")},
		{Account: "ann@x.test", Mailbox: "../../etc/pass:wd", Received: at, Raw: []byte("Subject: 3\r\n\r\n")},
		{Account: "..", Mailbox: "..", Received: at, Raw: []byte("Subject: 4\r\n\r\n")},
		{Mailbox: "left", Received: at, Raw: []byte("Subject: 5\r\n\r\n")},
	}
	if err := Write(dir, items); err != nil {
		t.Fatal(err)
	}
	var got []string
	for it, err := range Read(os.DirFS(dir)) {
		if err != nil {
			t.Fatal(err)
		}
		it.Path = ""
		got = append(got, fmt.Sprintf("%+v", it))
	}
	var want []string
	for _, it := range items {
		want = append(want, fmt.Sprintf("%+v", it))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
