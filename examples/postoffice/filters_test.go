package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testdns"
)

// TestForgedMail: with nothing but a resolver, mail that says to be a bank's is refused,
// and what is right says so.
func TestForgedMail(t *testing.T) {
	dns := testdns.New(t, `_dmarc.bank.test. TXT "v=DMARC1; p=reject"`, `own.test. TXT "v=spf1 ip4:127.0.0.1 -all"`, `_dmarc.own.test. TXT "v=DMARC1; p=reject"`)
	dir := t.TempDir()
	file := filepath.Join(dir, "postoffice.toml")
	for mode, want := range map[string]string{"enforce": "5.7.1 neither SPF", "mark": "", "off": ""} {
		if err := os.WriteFile(file, []byte("filter-loopback = true\nfilter-dmarc = \""+mode+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := start(t, filepath.Join(dir, mode), "-resolver", dns.Addr, "-config", file, "-account", "ann@x.test:secret-of-ann")
		err := send(o.at["smtp"], "", "", "eve@evil.test", "ann@x.test", "From: service@bank.test\r\nSubject: forged\r\n\r\nx\r\n")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mode, err)
		}
		if err := send(o.at["smtp"], "", "", "a@own.test", "ann@x.test", "From: a@own.test\r\nSubject: right\r\n\r\nx\r\n"); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		n := 1
		if mode == "off" {
			n = 2
		}
		all := o.inbox("ann@x.test", "secret-of-ann")
		if len(all) != n {
			t.Errorf("%s: %d in INBOX, want %d", mode, len(all), n)
		}
		if m := all[len(all)-1]; !strings.Contains(m, "spf=pass") || strings.Contains(m, "dmarc=pass") != (mode != "off") {
			t.Errorf("%s: %s", mode, m)
		}
		o.stop()
	}
}
