package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/server"
)

// defaults are what no flag gives.
func defaults() options {
	return options{
		dir: "postoffice-data", smtp: "127.0.0.1:2525", submission: "127.0.0.1:2587", submissions: "127.0.0.1:2465",
		imap: "127.0.0.1:2143", imaps: "127.0.0.1:2993", http: "127.0.0.1:2080", sign: true, directPort: 25,
		index: true, filters: true, rateConns: 100, rateMessages: 300, rateRcpts: 1000,
		filterSPF: server.FilterMark, filterDKIM: server.FilterEnforce, filterDMARC: server.FilterEnforce, filterAttachment: server.FilterEnforce, junkAt: 5, refuseAt: 15,
	}
}

func TestFlags(t *testing.T) {
	net10 := netip.MustParsePrefix("10.0.0.0/8")
	for line, want := range map[string]func(*options){
		"":                               func(o *options) {},
		"-dir d -hostname h":             func(o *options) { o.dir, o.hostname = "d", "h" },
		"-domain a.test --domain=b.test": func(o *options) { o.domains = []string{"a.test", "b.test"} },
		"-account a@b.test:p:w":          func(o *options) { o.accounts = []string{"a@b.test:p:w"} },
		"-smtp= -submission= -imap :143": func(o *options) { o.smtp, o.submission, o.imap = "", "", ":143" },
		"-submissions [::1]:465 -imaps a:imaps,b:1 -lmtp z": func(o *options) { o.submissions, o.imaps, o.lmtp = "[::1]:465", "a:imaps,b:1", "z" },
		"-pop3 :110 -pop3s :995":                            func(o *options) { o.pop3, o.pop3s = ":110", ":995" },
		"-http 127.0.0.1:8080":                              func(o *options) { o.http = "127.0.0.1:8080" },
		"-cert c -key k":                                    func(o *options) { o.cert, o.key = "c", "k" },
		"-relay h:25 -resolver r:53":                        func(o *options) { o.relay, o.resolver = "h:25", "r:53" },
		"-direct -insecure-auth":                            func(o *options) { o.direct, o.insecureAuth = true, true },
		"-compress":                                         func(o *options) { o.compress = true },
		"-trusted 10.1.2.3/8 -trusted ::1": func(o *options) {
			o.trusted = []netip.Prefix{net10, netip.MustParsePrefix("::1/128")}
		},
	} {
		got, rest, err := parse(strings.Fields(line))
		o := defaults()
		want(&o)
		if err != nil || len(rest) > 0 || !reflect.DeepEqual(*got, o) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", line, got, err, o)
		}
	}
}

func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postoffice.toml")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`# all names are those of the flags
dir = "/srv/mail"
hostname = "mx.a.test"
domain = ["a.test", "b.test"]
account = "ann@a.test:secret"
smtp = ":25"
imaps = ""
relay = "smart.test:587"
relay-user = "us"
relay-password = "pw"
relay-tls = "required"
trusted = ["10.0.0.0/8"]
insecure-auth = false
filters = false
filter-loopback = true
filter-spf = "enforce"
filter-dkim = "off"
filter-dmarc = "log"
filter-try-again = true
dnsbl = ["zen.test", "list.test=-2"]
junk-at = 4.5
refuse-at = 0
rate-conns = 0
rate-messages = 5
rate-recipients = 6
`)
	want := defaults()
	want.config, want.dir, want.hostname, want.domains = file, "/srv/mail", "mx.a.test", []string{"a.test", "b.test"}
	want.accounts, want.smtp, want.imaps, want.relay = []string{"ann@a.test:secret"}, ":25", "", "smart.test:587"
	want.relayUser, want.relayPassword, want.relayTLS = "us", "pw", "required"
	want.trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.filterSPF, want.filterDKIM, want.filterDMARC = server.FilterEnforce, server.FilterOff, server.FilterLog
	want.dnsbl = []dnsbl.List{{Zone: "zen.test"}, {Zone: "list.test", Score: -2}}
	want.filterTryAgain, want.junkAt, want.refuseAt = true, 4.5, 0
	want.filters, want.filterLoopback, want.rateConns, want.rateMessages, want.rateRcpts = false, true, 0, 5, 6
	got, _, err := parse([]string{"-config", file})
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	// Flags win, whole lists too.
	got, rest, err := parse([]string{"-domain", "c.test", "-smtp", "x:1", "-config", file, "-insecure-auth", "queue", "list"})
	want.domains, want.smtp, want.insecureAuth = []string{"c.test"}, "x:1", true
	if err != nil || !reflect.DeepEqual(*got, want) || len(rest) != 2 {
		t.Errorf("got %+v %q, %v\nwant %+v", got, rest, err, want)
	}

	for text, want := range map[string]string{
		"smtp = ":                        "line 1",
		"a = 1\nb":                       "line 2",
		"colour = \"red\"":               `there is no "colour"`,
		"config = \"x\"":                 `there is no "config"`,
		"smtp = true":                    "smtp: it is a text",
		"direct = \"yes\"":               "direct: it is true or false",
		"smtp = [\"a\"]":                 "smtp: it has one value",
		"domain = [1]":                   "domain: the list has something",
		"domain = [\"\"]":                "domain: \"\": it is empty",
		"trusted = [\"x\"]":              "trusted: \"x\": it is no network",
		"dnsbl = \"x.test=much\"":        "is no score",
		"dnsbl = [\"a b\"]":              "is no zone",
		"[smtp]\nx = 1":                  "smtp: it has a value of the wrong kind",
		"smtp = 1979-05-27":              "wrong kind",
		"direct-port = 0":                "0 is no port",
		"rate-messages = -1":             "rate-messages: -1 is less than 0",
		"filters = \"no\"":               "filters: it is true or false",
		"relay-user = \"x\"":             "relay-user and relay-tls need relay",
		"relay-tls = \"maybe\"":          "maybe",
		"relay = \"x\"\ndirect = true":   "choose one",
		"account = \"ann@a.test\"":       "not user@domain:password",
		"dir = \"\"":                     "-dir: it is empty",
		"smtp = 25":                      `-smtp: "25" is no address`,
		"imap = \"127.0.0.1\"":           `-imap: "127.0.0.1" is no address`,
		"imaps = \"127.0.0.1:99999\"":    "-imaps",
		"submission = \"a:1,b\"":         `-submission: "b" is no address`,
		"relay = \"smart.test\"":         `-relay: "smart.test" is not host:port`,
		"relay = \":25\"":                "not host:port",
		"hostname = \"not a name\"":      "-hostname",
		"domain = \"not a domain\"":      "-domain",
		"account = \"a@b c:pw\"":         `-account: "a@b c" is no address`,
		"cert = \"x\"":                   "-cert and -key",
		"colour = 1\nsound = 2":          "sound",
		"direct-port = \"many\"":         "direct-port",
		"smtp = \"\xff\"":                "postoffice.toml",
		strings.Repeat("[", 10) + "x":    "line 1",
		"domain = [[\"a\"]]":             "the list has something",
		"insecure-auth = 1":              "insecure-auth",
		"json = true":                    `there is no "json"`,
		"DIR = \"x\"":                    `there is no "DIR"`,
		"account = [\"a@b:c\", \"d@e\"]": `"d@e" is not`,
	} {
		write(text)
		if _, _, err := parse([]string{"-config", file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, _, err := parse([]string{"-relay-password", "x", "-relay", "y"}); err == nil || !strings.Contains(err.Error(), "-config") {
		t.Errorf("a password on the command line: %v", err)
	}
}
