package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/internal/control"
)

// A Resolver looks up what is published. *net.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

type dnsArgs struct {
	Domain string `json:"domain,omitempty"`
	Host   string `json:"host,omitempty"`
	Check  bool   `json:"check,omitempty"`
}

// A DNSRecord is a row of dns: a record that a domain needs.
type DNSRecord struct {
	Domain string `json:"domain"`
	Name   string `json:"name"` // without a dot at the end
	Type   string `json:"type"`
	Value  string `json:"value"` // of TXT the whole text
	// Zone is the record as it stands in a zone file. That of a PTR record, which
	// stands in the zone of who gave the address, is a comment.
	Zone  string `json:"zone"`
	Why   string `json:"why"`
	State string `json:"state,omitempty"` // with -check: right, missing, wrong, unknown
	Found string `json:"found,omitempty"` // what is there, if that is not it
}

func parseDNS(fs *flag.FlagSet) func(*input) (any, error) {
	var args dnsArgs
	fs.StringVar(&args.Host, "host", "", "the `name` of the mail server; without it the one that it calls itself, or mail.DOMAIN")
	fs.BoolVar(&args.Check, "check", false, "look up what is published, and say what is not right")
	return func(in *input) (any, error) {
		if len(in.args) > 1 {
			return nil, control.Usagef("give one domain, or none for all")
		}
		if len(in.args) == 1 {
			args.Domain = in.args[0]
		}
		return args, nil
	}
}

// dns shows the records of one domain or of all. Keys that there are not yet are made.
func dns(a *Admin, ctx context.Context, args dnsArgs, emit Emit) error {
	ds, err := a.Accounts.Domains(ctx)
	if err != nil {
		return err
	}
	if args.Domain != "" {
		name, err := accounts.CanonicalDomain(args.Domain)
		if err != nil {
			return err
		}
		d, err := a.domain(ctx, name)
		if err != nil {
			return err
		}
		ds = []accounts.Domain{d}
	}
	wrong := 0
	for _, d := range ds {
		host := args.Host
		if host == "" {
			host = a.Hostname
		}
		if host == "" {
			host = "mail." + d.Name
		}
		if host, err = accounts.CanonicalDomain(host); err != nil {
			return control.Usagef("%q is no name of a mail server", args.Host)
		}
		records, err := a.records(ctx, d.Name, host)
		if err != nil {
			return err
		}
		for i := range records {
			if args.Check {
				a.lookUp(ctx, &records[i], host)
				if records[i].State != right {
					wrong++
				}
			}
			if err := emit(records[i]); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fail(fmt.Sprintf("%s not right", are(wrong, "record")), "publish them as they are shown; a change takes up to the TTL of the old record to be seen")
	}
	return nil
}

func are(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// The order and number of records do not change with what is published.
func (a *Admin) records(ctx context.Context, domain, host string) ([]DNSRecord, error) {
	spf := "who may send mail of the domain (RFC 7208)"
	if a.Relayed {
		spf += ": mail leaves through a smart host, so put the include that its provider names before -all"
	}
	all := []DNSRecord{
		{Name: domain, Type: "MX", Value: "10 " + host + ".", Why: "where mail for the domain goes"},
		{Name: domain, Type: "TXT", Value: "v=spf1 mx -all", Why: spf},
	}
	if host != domain {
		all = append(all, DNSRecord{Name: host, Type: "TXT", Value: "v=spf1 a -all", Why: "who may call itself so, for bounces, which have no sender"})
	}
	if a.Keys != nil {
		keys, err := a.Keys.Keys(ctx, domain)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			all = append(all, DNSRecord{Name: k.Name(), Type: "TXT", Value: k.Record(), Why: "the key of the signatures with " + k.Algorithm() + " (RFC 6376)"})
		}
	}
	all = append(all, DNSRecord{Name: "_dmarc." + domain, Type: "TXT", Value: "v=DMARC1; p=quarantine",
		Why: "what to do with mail for which neither vouches (RFC 7489): put p=none while other hosts still send for the domain, p=reject when you are sure"})
	all = append(all, DNSRecord{Name: host, Type: "PTR", Value: host + ".",
		Why: "the name of the address that mail comes from: set by who gave you the address; " + host + " has to have that address, in an A or AAAA record"})
	for i := range all {
		all[i].Domain, all[i].Zone = domain, zoneLine(all[i])
	}
	return all, nil
}

// zoneLine is a record as a line, or several, of a zone file (RFC 1035, 5.1).
func zoneLine(r DNSRecord) string {
	switch r.Type {
	case "TXT":
		return r.Name + ". IN TXT " + quoteTXT(r.Value)
	case "PTR":
		return "; <address of " + r.Name + "> IN PTR " + r.Value
	}
	return r.Name + ". IN " + r.Type + " " + r.Value
}

// quoteTXT splits a text into strings of at most 255 bytes (RFC 1035, 3.3.14), which
// readers put together again (RFC 7208, 3.3; RFC 6376, 3.6.2.2).
func quoteTXT(s string) string {
	var parts []string
	for part := range slices.Chunk([]byte(s), 255) {
		parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(part))+`"`)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(\n\t" + strings.Join(parts, "\n\t") + " )"
}

// States of a record with -check.
const (
	right   = "right"
	missing = "missing"
	wrong   = "wrong"
	unknown = "unknown"
)

// lookUp says of a record whether it is published. What others may rightly say in
// another way, as in SPF and DMARC, is right if it does what is meant.
func (a *Admin) lookUp(ctx context.Context, r *DNSRecord, host string) {
	var resolver Resolver = net.DefaultResolver
	if a.Resolver != nil {
		resolver = a.Resolver
	}
	var found []string
	var err error
	var good func(string) bool
	switch {
	case r.Type == "MX":
		var mxs []*net.MX
		mxs, err = resolver.LookupMX(ctx, r.Name+".")
		for _, mx := range mxs {
			found = append(found, fmt.Sprintf("%d %s", mx.Pref, mx.Host))
		}
		good = func(s string) bool {
			_, to, _ := strings.Cut(s, " ")
			return strings.EqualFold(strings.TrimSuffix(to, "."), host)
		}
	case r.Type == "PTR":
		found, err = reverse(ctx, resolver, r.Name)
		good = func(s string) bool {
			_, name, _ := strings.Cut(s, " ")
			return strings.EqualFold(strings.TrimSuffix(name, "."), host)
		}
	default:
		found, err = resolver.LookupTXT(ctx, r.Name+".")
		begin, _, _ := strings.Cut(r.Value, " ")
		if begin = strings.TrimSuffix(begin, ";"); begin != "v=DKIM1" { // other things may stand there too
			found = slices.DeleteFunc(found, func(s string) bool { return !strings.HasPrefix(strings.ToLower(s), strings.ToLower(begin)) })
		}
		good = func(s string) bool { return sameTXT(s, r.Value, host) }
	}
	notFound := new(net.DNSError)
	switch {
	case err != nil && !(errors.As(err, &notFound) && notFound.IsNotFound):
		r.State, r.Found = unknown, err.Error()
	case len(found) == 0:
		r.State = missing
	case r.Type == "MX" && slices.ContainsFunc(found, good), r.Type == "PTR" && !slices.ContainsFunc(found, func(s string) bool { return !good(s) }),
		r.Type == "TXT" && len(found) == 1 && good(found[0]): // two of SPF or DMARC are none
		r.State = right
	default:
		r.State, r.Found = wrong, strings.Join(found, " | ")
	}
}

// reverse returns for each address of a host which name it has.
func reverse(ctx context.Context, r Resolver, host string) (found []string, err error) {
	addrs, err := r.LookupNetIP(ctx, "ip", host+".")
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		addr = addr.Unmap()
		names, err := r.LookupAddr(ctx, addr.String())
		notFound := new(net.DNSError)
		if err != nil && !(errors.As(err, &notFound) && notFound.IsNotFound) {
			return nil, err
		}
		if len(names) == 0 {
			names = []string{"(no name)"}
		}
		at := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), host) })
		found = append(found, addr.String()+" "+names[max(at, 0)])
	}
	return found, nil
}

// sameTXT reports whether a text does what want does.
func sameTXT(s, want, host string) bool {
	words := strings.Fields(strings.ToLower(s))
	switch {
	case strings.HasPrefix(want, "v=spf1 mx"):
		return slices.ContainsFunc([]string{"mx", "+mx", "a:" + host, "+a:" + host}, func(w string) bool { return slices.Contains(words, w) })
	case strings.HasPrefix(want, "v=spf1 a"):
		return slices.Contains(words, "a") || slices.Contains(words, "+a") || slices.Contains(words, "a:"+host) || slices.Contains(words, "mx")
	case strings.HasPrefix(want, "v=DMARC1"):
		text := strings.Join(words, "")
		return strings.HasPrefix(text, "v=dmarc1;p=")
	}
	// DKIM: spaces between tags do not count (RFC 6376, 3.2).
	squeeze := func(s string) string { return strings.TrimSuffix(strings.Join(strings.Fields(s), ""), ";") }
	return squeeze(s) == squeeze(want)
}

// showDNS shows a zone file, so that all of it can be pasted.
func showDNS(w io.Writer) shower {
	domain := ""
	return says{w, func(raw json.RawMessage) (string, error) {
		return decoded(func(r DNSRecord) string {
			s := ""
			if r.Domain != domain {
				if domain != "" {
					s = "\n"
				}
				domain = r.Domain
				s += "; DNS records of " + plain(r.Domain) + "\n\n"
			}
			s += "; " + plain(r.Why) + "\n"
			switch {
			case r.State == right:
				s += "; right\n"
			case r.State != "" && r.Found != "":
				s += "; " + strings.ToUpper(plain(r.State)) + ": " + plain(r.Found) + "\n"
			case r.State != "":
				s += "; " + strings.ToUpper(plain(r.State)) + "\n"
			}
			var lines []string
			for line := range strings.SplitSeq(r.Zone, "\n") {
				tab := strings.HasPrefix(line, "\t")
				if line = plain(strings.TrimPrefix(line, "\t")); tab {
					line = "\t" + line
				}
				lines = append(lines, line)
			}
			return s + strings.Join(lines, "\n")
		})(raw)
	}}
}
