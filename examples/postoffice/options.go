package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/filter/dnsbl"
	"github.com/mailkeel/mailkeel/server"
)

// options are what the flags and the configuration file say.
type options struct {
	imports               string // a directory with mail
	dir, config, hostname string
	domains, accounts     []string

	smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s, http, https string

	cert, key       string
	relay, resolver string
	direct          bool
	trusted         []netip.Prefix
	proxies         []netip.Prefix // in front of http
	brand           string
	insecureAuth    bool
	compress        bool
	index           bool
	channelBinding  bool
	json            bool
	sign            bool

	// Only in the configuration file.
	relayUser, relayPassword, relayTLS string
	directPort                         int
	filters, filterLoopback            bool
	filterSPF, filterDKIM, filterDMARC server.FilterMode
	filterHeaders, filterAttachment    server.FilterMode
	dnsbl                              []dnsbl.List
	filterTryAgain                     bool
	junkAt, refuseAt                   float64 // scores; 0 means never
	rateConns, rateMessages, rateRcpts int     // in a minute; 0 means any
}

// fileOnly are options that have no place on a command line, where others can
// read them, or that only tests need.
var fileOnly = []string{"relay-user", "relay-password", "relay-tls", "direct-port",
	"filters", "filter-loopback", "filter-spf", "filter-dkim", "filter-dmarc", "filter-headers", "filter-attachment", "dnsbl", "filter-try-again", "junk-at", "refuse-at",
	"rate-conns", "rate-messages", "rate-recipients"}

// flags returns the flags that set o, with their defaults in o.
func (o *options) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("postoffice", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&o.dir, "dir", "postoffice-data", "the `directory` in which everything is kept; made if missing")
	fs.StringVar(&o.config, "config", "", "a TOML `file` with these names; flags win over it")
	fs.StringVar(&o.hostname, "hostname", "", "what the server calls itself; the machine's `name` if that has a dot, else mail.DOMAIN")
	fs.Var(words{&o.domains}, "domain", "receive mail for this `domain`; repeatable; made if missing (without any: example.test)")
	fs.Var(words{&o.accounts}, "account", "an account, as `user@domain:password`; repeatable; made if missing (without any: a demo account)")
	fs.StringVar(&o.imports, "import", "", "file the mail below this `directory` first: .eml, mbox, Maildir, or what a test saved; accounts are made if missing")
	fs.StringVar(&o.smtp, "smtp", "127.0.0.1:2525", "`address` for mail from other servers")
	fs.StringVar(&o.submission, "submission", "127.0.0.1:2587", "`address` for mail from users, with STARTTLS")
	fs.StringVar(&o.submissions, "submissions", "127.0.0.1:2465", "`address` for mail from users, with TLS from the start")
	fs.StringVar(&o.lmtp, "lmtp", "", "loopback `address` or Unix path for mail from a server in front")
	fs.StringVar(&o.imap, "imap", "127.0.0.1:2143", "`address` for reading, with STARTTLS")
	fs.StringVar(&o.imaps, "imaps", "127.0.0.1:2993", "`address` for reading, with TLS from the start")
	fs.StringVar(&o.pop3, "pop3", "", "`address` for programs that fetch and delete mail (POP3), with STLS")
	fs.StringVar(&o.pop3s, "pop3s", "", "`address` for them, with TLS from the start")
	fs.StringVar(&o.http, "http", "127.0.0.1:2080", "`address` for webmail: a loopback one, or one that only a proxy of -http-proxy reaches")
	fs.StringVar(&o.https, "https", "", "`address` for webmail, with TLS")
	fs.Func("http-proxy", "a `network` of proxies in front of -http that terminate TLS and say X-Forwarded-Proto, as CIDR; repeatable", func(s string) error {
		p, err := parsePrefix(s)
		if err == nil {
			o.proxies = append(o.proxies, p)
		}
		return err
	})
	fs.StringVar(&o.brand, "brand", "", "the `name` that stands on the pages of webmail, instead of Mail")
	fs.StringVar(&o.cert, "cert", "", "PEM `file` with the certificate, re-read when it changes; without one a self-signed is made")
	fs.StringVar(&o.key, "key", "", "PEM `file` with its key")
	fs.StringVar(&o.relay, "relay", "", "send all outgoing mail to this smart `host:port`")
	fs.BoolVar(&o.direct, "direct", false, "bring outgoing mail to the world itself; without this and -relay it is held")
	fs.BoolVar(&o.sign, "sign", true, "sign outgoing mail of our domains with DKIM; the command dns shows what to publish")
	fs.StringVar(&o.resolver, "resolver", "", "the DNS server to ask, `host:port`; without it those of the machine")
	fs.Func("trusted", "a `network` whose mail is not held to rate limits and DNS lists, as CIDR; repeatable", func(s string) error {
		p, err := parsePrefix(s)
		if err == nil {
			o.trusted = append(o.trusted, p)
		}
		return err
	})
	fs.BoolVar(&o.insecureAuth, "insecure-auth", false, "take passwords without TLS; only on loopback addresses")
	fs.BoolVar(&o.channelBinding, "channel-binding", false, "offer SCRAM-SHA-256-PLUS; mutt of Debian 12 takes it and cannot do it")
	fs.BoolVar(&o.compress, "compress", false, "compress the mail that comes from now on: less room, and some processor time")
	fs.BoolVar(&o.index, "index", true, "keep an index of what messages say, in search.db, for searches; false reads the messages")
	fs.BoolVar(&o.json, "json", false, "sub-commands print one JSON object a line")

	fs.StringVar(&o.relayUser, "relay-user", "", "log in to the smart host with this `name`")
	fs.StringVar(&o.relayPassword, "relay-password", "", "and this `password`")
	fs.StringVar(&o.relayTLS, "relay-tls", "", "`how`: opportunistic, required or implicit")
	fs.IntVar(&o.directPort, "direct-port", 25, "the `port` that -direct connects to")
	fs.BoolVar(&o.filters, "filters", true, "judge mail from other servers; false takes what comes")
	fs.BoolVar(&o.filterLoopback, "filter-loopback", false, "judge peers on this machine like any other; without this they are programs here, or a proxy that hides who it is")
	const how = "; enforce may refuse, mark scores and files in Junk, log tells, off asks nobody"
	fs.TextVar(&o.filterSPF, "filter-spf", server.FilterMark, "`how` much SPF counts"+how)
	fs.TextVar(&o.filterDKIM, "filter-dkim", server.FilterEnforce, "`how` much signatures count; they only vouch, for DMARC")
	fs.TextVar(&o.filterDMARC, "filter-dmarc", server.FilterEnforce, "`how` much DMARC counts"+how)
	fs.TextVar(&o.filterHeaders, "filter-headers", server.FilterDefault, "`how` much the form of the header counts; by default a large one is refused, and other faults mark")
	fs.TextVar(&o.filterAttachment, "filter-attachment", server.FilterEnforce, "`how` much programs among the attachments count"+how)
	fs.Func("dnsbl", "a DNS `list` to ask about peers, as zone or zone=score, below 0 for one of those whose mail is wanted; repeatable", func(s string) error {
		l, err := parseDNSList(s)
		if err == nil {
			o.dnsbl = append(o.dnsbl, l)
		}
		return err
	})
	fs.BoolVar(&o.filterTryAgain, "filter-try-again", false, "refuse for now what cannot be judged because DNS does not answer; without this it passes")
	fs.Float64Var(&o.junkAt, "junk-at", 5, "the `score` at which a message is filed in Junk; 0 means never")
	fs.Float64Var(&o.refuseAt, "refuse-at", 15, "the `score` at which it is refused; 0 means never")
	fs.IntVar(&o.rateConns, "rate-conns", 100, "the `connections` that one address may open in a minute; 0 means any")
	fs.IntVar(&o.rateMessages, "rate-messages", 300, "and the `messages` that it may send")
	fs.IntVar(&o.rateRcpts, "rate-recipients", 1000, "and their `recipients`")
	return fs
}

// words is a flag that may be repeated.
type words struct{ to *[]string }

func (w words) String() string {
	if w.to == nil {
		return ""
	}
	return strings.Join(*w.to, " ")
}

func (w words) Set(s string) error {
	if s = strings.TrimSpace(s); s == "" {
		return errors.New("it is empty")
	}
	*w.to = append(*w.to, s)
	return nil
}

// parseDNSList reads "list.example.org" or "list.example.org=4".
func parseDNSList(s string) (dnsbl.List, error) {
	zone, score, scored := strings.Cut(s, "=")
	l := dnsbl.List{Zone: strings.TrimSpace(zone)}
	if scored {
		n, err := strconv.ParseFloat(strings.TrimSpace(score), 64)
		if err != nil || n == 0 || !(n >= -1000 && n <= 1000) {
			return l, fmt.Errorf("%q is no score, such as 3 or -2", score)
		}
		l.Score = n
	}
	return l, (&dnsbl.Filter{Lists: []dnsbl.List{l}}).Check()
}

// parsePrefix reads a network, or an address as a network of one.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("it is no network, such as 192.0.2.0/24")
	}
	return p.Masked(), nil
}

// parse reads the command line and the configuration file that it names. What
// follows the flags is returned.
func parse(args []string) (*options, []string, error) {
	o := &options{}
	fs := o.flags()
	if err := fs.Parse(args); err != nil {
		return nil, nil, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, name := range fileOnly {
		if given[name] {
			return nil, nil, fmt.Errorf("-%s: this belongs into the file that -config names", name)
		}
	}
	if o.config != "" {
		if err := readFile(o.config, fs, given); err != nil {
			return nil, nil, err
		}
	}
	return o, fs.Args(), o.check()
}

// readFile sets the flags that were not given from a TOML file.
func readFile(name string, fs *flag.FlagSet, given map[string]bool) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	var keys map[string]any
	if _, err := toml.Decode(string(b), &keys); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return fmt.Errorf("-config %s, line %d: %s", name, pe.Position.Line, pe.Message)
		}
		return fmt.Errorf("-config %s: %w", name, err)
	}
	var errs []error
	for key, v := range keys {
		switch f := fs.Lookup(key); {
		case f == nil || key == "config" || key == "json":
			errs = append(errs, fmt.Errorf("-config %s: there is no %q; the names are those of the flags", name, key))
		case given[key]:
		default:
			if err := setFlag(f, v); err != nil {
				errs = append(errs, fmt.Errorf("-config %s: %s: %w", name, key, err))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// setFlag sets f to a value of TOML; a list sets it once for each element.
func setFlag(f *flag.Flag, v any) error {
	_, isBool := f.Value.(interface{ IsBoolFlag() bool })
	switch v := v.(type) {
	case bool:
		if !isBool {
			return errors.New("it is a text, not true or false")
		}
		return f.Value.Set(strconv.FormatBool(v))
	case string:
		if isBool {
			return errors.New("it is true or false, without quotes")
		}
		return f.Value.Set(v)
	case int64:
		if isBool {
			return errors.New("it is true or false")
		}
		return f.Value.Set(strconv.FormatInt(v, 10))
	case float64:
		if isBool {
			return errors.New("it is true or false")
		}
		return f.Value.Set(strconv.FormatFloat(v, 'g', -1, 64))
	case []any:
		if !slices.Contains([]string{"domain", "account", "trusted", "http-proxy", "dnsbl"}, f.Name) {
			return errors.New("it has one value, not a list")
		}
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return errors.New("the list has something that is not a text")
			}
			if err := f.Value.Set(s); err != nil {
				return fmt.Errorf("%q: %w", s, err)
			}
		}
		return nil
	}
	return errors.New("it has a value of the wrong kind")
}

// check finds options that do not go together. What needs more knowledge is left
// to the parts.
func (o *options) check() error {
	var errs []error
	no := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	no(o.dir == "", "-dir: it is empty")
	for _, l := range []struct{ name, addr string }{
		{"smtp", o.smtp}, {"submission", o.submission}, {"submissions", o.submissions},
		{"imap", o.imap}, {"imaps", o.imaps}, {"pop3", o.pop3}, {"pop3s", o.pop3s}, {"http", o.http}, {"https", o.https}, // -lmtp may be a path
	} {
		if err := (server.Listen{Addr: l.addr}).Check(); err != nil {
			errs = append(errs, fmt.Errorf("-%s: %w", l.name, err))
		}
	}
	no((o.cert == "") != (o.key == ""), "-cert and -key go together")
	no(o.relay != "" && o.direct, "-relay and -direct: choose one way out")
	host, port, err := net.SplitHostPort(o.relay)
	no(o.relay != "" && (err != nil || host == "" || port == ""), "-relay: %q is not host:port, such as smtp.example.net:587", o.relay)
	no(o.relay == "" && (o.relayUser != "" || o.relayTLS != ""), "relay-user and relay-tls need relay")
	no((o.relayUser == "") != (o.relayPassword == ""), "relay-user and relay-password go together")
	no(!slices.Contains([]string{"", "opportunistic", "required", "implicit"}, o.relayTLS), "relay-tls: %q is none of opportunistic, required and implicit", o.relayTLS)
	no(o.directPort < 1 || o.directPort > 65535, "direct-port: %d is no port", o.directPort)
	for name, n := range map[string]int{"rate-conns": o.rateConns, "rate-messages": o.rateMessages, "rate-recipients": o.rateRcpts} {
		no(n < 0, "%s: %d is less than 0", name, n)
	}
	no(o.junkAt < 0 || o.refuseAt < 0, "junk-at and refuse-at: a score is not less than 0")
	if o.hostname != "" {
		_, err := accounts.CanonicalDomain(o.hostname)
		no(err != nil, "-hostname: %q is no name such as mail.example.org", o.hostname)
	}
	for _, d := range o.domains {
		_, err := accounts.CanonicalDomain(d)
		no(err != nil, "-domain: %q is no domain", d)
	}
	for _, a := range o.accounts {
		addr, pw, ok := strings.Cut(a, ":")
		local, domain, at := strings.Cut(addr, "@")
		if !ok || !at || local == "" || domain == "" || pw == "" {
			no(true, "-account: %q is not user@domain:password", addr)
			continue
		}
		_, err := accounts.Canonical(addr)
		no(err != nil, "-account: %q is no address", addr)
	}
	return errors.Join(errs...)
}

// help writes what -h shows.
func help(w io.Writer, commands func(io.Writer)) {
	fmt.Fprint(w, `postoffice is a whole mail server: SMTP, submission, IMAP, POP3 and webmail, with
mailboxes and a queue in one directory.

usage: postoffice [flags]
       postoffice COMMAND ...

Without any flag it serves example.test on loopback ports, with a demo account. It
prints "ready" when every listener accepts, and stops on SIGTERM and SIGINT. An
empty address turns a listener off; one may be several with commas between.

Flags:
`)
	fs := new(options).flags()
	shown := flag.NewFlagSet("", flag.ContinueOnError)
	shown.SetOutput(w)
	fs.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(fileOnly, f.Name) {
			shown.Var(f.Value, f.Name, f.Usage)
		}
	})
	shown.PrintDefaults()
	fmt.Fprint(w, "\nOnly in the file of -config:\n")
	fs.VisitAll(func(f *flag.Flag) {
		if slices.Contains(fileOnly, f.Name) {
			_, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(w, "  %s\n    \t%s\n", f.Name, usage)
		}
	})
	fmt.Fprint(w, "\nCommands, for the server that runs in the same -dir or for the directory itself:\n")
	commands(w)
}
