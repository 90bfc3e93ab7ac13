package admin_test

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/testdns"
	"github.com/mailkeel/mailkeel/server/admin"
)

// pasted reads what dns shows as a zone file.
func pasted(t *testing.T, zone string) (records []string, txt map[string]string) {
	t.Helper()
	txt = map[string]string{}
	p := dns.NewZoneParser(strings.NewReader("$TTL 3600\n"+zone), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, rr.String())
		if x, ok := rr.(*dns.TXT); ok {
			for _, s := range x.Txt {
				if len(s) > 255 {
					t.Errorf("a string of %d bytes", len(s))
				}
			}
			txt[strings.TrimSuffix(x.Hdr.Name, ".")] = strings.Join(x.Txt, "")
		}
	}
	if err := p.Err(); err != nil {
		t.Fatalf("%v in\n%s", err, zone)
	}
	return records, txt
}

func TestDNSRecordsCanBePasted(t *testing.T) {
	r := newRig(t)
	r.expect("domain add x.test", 0)
	r.Hostname = "mx.x.test"
	keys := &dkim.KeyRing{Store: r.Store, Clock: r.clock}
	r.Keys = keys
	var shown string
	both(r, func() {
		r.expect("dns nowhere.test", 1, "no such domain")
		r.expect("dns x.test y.test", 2, "one domain")
		r.expect("dns -host x..y", 2, "no name")
		out := r.expect("dns", 0, "; DNS records of x.test")
		if shown != "" && out != shown {
			t.Errorf("with a server:\n%s\nand without:\n%s", out, shown)
		}
		shown = out
	})
	made, err := keys.Keys(t.Context(), "x.test")
	if err != nil || len(made) != 2 {
		t.Fatal(made, err)
	}
	records, txt := pasted(t, shown)
	want := map[string]string{"x.test": "v=spf1 mx -all", "mx.x.test": "v=spf1 a -all", "_dmarc.x.test": "v=DMARC1; p=quarantine"}
	for _, k := range made {
		want[k.Name()] = k.Record()
	}
	for name, text := range want {
		if txt[name] != text {
			t.Errorf("%s has %q, want %q", name, txt[name], text)
		}
	}
	if len(txt) != len(want) || len(records) != len(want)+1 {
		t.Errorf("records:\n%s", strings.Join(records, "\n"))
	}
	// The same as objects.
	n := 0
	for line := range strings.Lines(r.expect("dns -json X.test", 0)) {
		var d admin.DNSRecord
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		if n++; d.Type == "TXT" && want[d.Name] != d.Value {
			t.Errorf("%+v", d)
		}
	}
	if n != 7 {
		t.Errorf("%d records, want 7", n)
	}
	r.Keys, r.Hostname, r.Relayed = nil, "", true
	if out := r.expect("dns x.test", 0, "10 mail.x.test.", "the include that its provider names"); strings.Contains(out, "_domainkey") {
		t.Errorf("nothing is signed:\n%s", out)
	}
	r.expect("dns -host other.test x.test", 0, "10 other.test.")
}

func TestDNSCheckSaysWhatIsNotRight(t *testing.T) {
	r := newRig(t)
	r.expect("domain add x.test", 0)
	r.Hostname, r.Keys = "mx.x.test", &dkim.KeyRing{Store: r.Store, NoRSA: true, Clock: r.clock}
	world := testdns.New(t)
	r.Resolver = world.Resolver()
	states := func(code int) string {
		t.Helper()
		var all []string
		_, out, _ := r.run("", "dns -check -json x.test")
		r.expect("dns -check x.test", code)
		for line := range strings.Lines(out) {
			var d admin.DNSRecord
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatal(err)
			}
			all = append(all, d.State)
		}
		return strings.Join(all, " ")
	}
	if got := states(1); got != "missing missing missing missing missing missing" {
		t.Errorf("nothing is published: %s", got)
	}
	zone, txt := pasted(t, r.expect("dns x.test", 0))
	zone = append(zone, "mx.x.test. A 192.0.2.1", "1.2.0.192.in-addr.arpa. PTR mx.x.test.")
	world.Set(t, zone...)
	if got := states(0); got != "right right right right right right" {
		t.Errorf("all is published: %s", got)
	}
	key := "ed25519-20260102._domainkey.x.test"
	if txt[key] == "" {
		t.Fatal(txt)
	}
	world.Set(t,
		"x.test. MX 5 backup.example.", "x.test. MX 10 MX.x.test.", // right
		`x.test. TXT "v=spf1 include:provider.example mx ~all"`, `x.test. TXT "other"`, // right
		`mx.x.test. TXT "v=spf1 a -all"`, `mx.x.test. TXT "v=spf1 -all"`, // two
		key+`. TXT "`+strings.Replace(txt[key], "p=", "p=A", 1)+`"`,   // another key
		`_dmarc.x.test. TXT "v=DMARC1;p=reject; rua=mailto:r@x.test"`, // right
		"mx.x.test. A 192.0.2.1", "mx.x.test. A 192.0.2.2", "1.2.0.192.in-addr.arpa. PTR mx.x.test.", // one address has no name
	)
	if got := states(1); got != "right right wrong wrong right wrong" {
		t.Errorf("some is: %s", got)
	}
	r.expect("dns -check x.test", 1, "; WRONG: 192.0.2.1 mx.x.test. | 192.0.2.2 (no name)", "3 records are not right")
	world.Fail("_dmarc.x.test", testdns.Refused)
	if got := states(1); got != "right right wrong wrong unknown wrong" {
		t.Errorf("one cannot be told: %s", got)
	}
}

var _ admin.Resolver = (*net.Resolver)(nil)
