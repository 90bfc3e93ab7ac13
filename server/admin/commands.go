package admin

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mailkeel/mailkeel/internal/control"
)

// A command is one that people give: its words, its flags, what it does on the
// side of the server, and how its rows look.
type command struct {
	name  string // "account add"
	args  string // the positional ones, for help
	help  string
	json  string // the members of its rows, for help
	parse func(*flag.FlagSet) func(in *input) (args any, err error)
	do    func(*Admin, context.Context, json.RawMessage, Emit) error
	show  func(io.Writer) shower
}

// input is what a command got besides its flags.
type input struct {
	args  []string
	stdin io.Reader
}

// shower shows rows to a person; rows come to row, and end follows the last.
type shower interface {
	row(json.RawMessage) error
	end() error
}

// exactly returns the only argument.
func (in *input) exactly(what string) (string, error) {
	if len(in.args) != 1 {
		return "", control.Usagef("give one %s", what)
	}
	return in.args[0], nil
}

// none refuses arguments.
func (in *input) none() error {
	if len(in.args) > 0 {
		return control.Usagef("unexpected: %s", strings.Join(in.args, " "))
	}
	return nil
}

// The members of rows. Names do not change; others may be added.
const (
	accountJSON = "address, id, name?, disabled, quota (0: any), used, max_messages?, messages, shared?, send_as?, admin_of?, password? (one just made)"
	domainJSON  = "name, catch_all?, postmaster?, warning?"
	aliasJSON   = "address, targets, warning?"
	itemJSON    = `id, state ("held", "waiting", "due", "trying"), from, to, given?, route, size, queued, due,
  expires?, attempts, last?, submitter?, client?, blob?, header? (show),
  done? ("held", "released", "retried", "dropped")`
	checkJSON = `state, what, where, text, done? ("repaired", "parked", "known") for each problem; now and then
  progress (bytes?, blobs?, messages?); and at the end one with accounts, mailboxes, messages, objects,
  items, blobs, orphans, orphan_bytes, swept?, problems, repaired?, newly_parked?, parked?,
  unsealed?, sealed?
The exit code of check is 0 if all is well, or was parked before; 1 if it found something,
repaired or not; 2 if it could not look at everything.`
)

// dnsJSON are the members of a record.
const dnsJSON = `domain, name, type, value (of TXT: whole), zone (a line of a zone file), why, state? ("right", "missing", "wrong",
  "unknown"; with -check), found? (what is there instead, or why nothing can be told)
The exit code of dns -check is 1 if a record is not right.`

// profileJSON is the form of a part of a profile.
const profileJSON = "data (base64; the parts make the file)"

// selection is how queue commands name items.
const selection = "ID... | -all | -route, -sender, -recipient ..."

var commands = []command{
	{"account add", "ADDRESS", "make an account; without -password one is made and shown once", accountJSON, parseAccount("add"), with(accountAdd), showAccount("made")},
	{"account list", "", "show accounts", accountJSON, parseAccount("list"), with(accountList), showAccounts},
	{"account set", "ADDRESS", "change an account", accountJSON, parseAccount("set"), with(accountSet), showAccount("changed")},
	{"account disable", "ADDRESS", "end its logins; mail is still received", accountJSON, parseAccount("disable"), with(accountDisable), showAccount("disabled")},
	{"account delete", "ADDRESS", "remove an account and its mail", accountJSON, parseAccount("delete"), with(accountDelete), showAccount("deleted")},
	{"domain add", "NAME", "receive mail for a domain", domainJSON, parseDomain("add"), with(domainAdd), showDomain("added")},
	{"domain list", "", "show domains", domainJSON, parseDomain("list"), with(domainList), showDomains},
	{"domain set", "NAME", "change a domain", domainJSON, parseDomain("set"), with(domainSet), showDomain("changed")},
	{"domain delete", "NAME", "remove a domain without accounts and aliases", domainJSON, parseDomain("delete"), with(domainDelete), showDomain("deleted")},
	{"alias add", "ADDRESS TARGET...", "send mail for an address on to others", aliasJSON, parseAlias("add"), with(aliasAdd), showAlias("added")},
	{"alias list", "", "show aliases", aliasJSON, parseAlias("list"), with(aliasList), showAliases},
	{"alias set", "ADDRESS TARGET...", "change where an alias leads", aliasJSON, parseAlias("set"), with(aliasSet), showAlias("changed")},
	{"alias delete", "ADDRESS", "remove an alias", aliasJSON, parseAlias("delete"), with(aliasDelete), showAlias("deleted")},
	{"queue list", "", "show what waits for delivery", itemJSON, parseQueue("list"), with(queueList), showItems},
	{"queue show", "ID...", "show all about items, with the header of the message", itemJSON, parseQueue("show"), with(queueShow), showItem},
	{"queue hold", selection, "keep items until they are released", itemJSON, parseQueue("hold"), with(queueHold), showChanged},
	{"queue release", selection, "let held items go", itemJSON, parseQueue("release"), with(queueRelease), showChanged},
	{"queue retry", selection, "try items now, other than held ones", itemJSON, parseQueue("retry"), with(queueRetry), showChanged},
	{"queue drop", selection, "remove items; nobody is told", itemJSON, parseQueue("drop"), with(queueDrop), showChanged},
	{"check", "", "compare all that is kept with itself, and repair it with -repair", checkJSON, parseCheck, with(check), showCheck},
	{"dns", "[DOMAIN]", "show the DNS records that a domain needs, to be pasted; with -check, ask whether they are there", dnsJSON, parseDNS, with(dns), showDNS},
	{"profile", "cpu|heap|allocs|goroutine", "write where the time or memory of the server goes, for go tool pprof", profileJSON, parseProfile, with(profile), showProfile},
}

// optional makes a flag whose absence leaves things as they are.
func optional(fs *flag.FlagSet, name, usage string) **string {
	p := new(*string)
	fs.Func(name, usage, func(s string) error {
		*p = &s
		return nil
	})
	return p
}

// list makes a flag with words between commas; "" empties the list.
func list(fs *flag.FlagSet, name, usage string) **[]string {
	p := new(*[]string)
	fs.Func(name, usage, func(s string) error {
		l := []string{}
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				l = append(l, w)
			}
		}
		*p = &l
		return nil
	})
	return p
}

func parseAccount(verb string) func(*flag.FlagSet) func(*input) (any, error) {
	return func(fs *flag.FlagSet) func(*input) (any, error) {
		var args accountArgs
		var password **string
		switch verb {
		case "list":
			fs.StringVar(&args.Domain, "domain", "", "only those of this `domain`")
		case "set", "add":
			password = optional(fs, "password", "the `password`; - reads it from the first line of standard input")
			name := optional(fs, "name", "the `name` of the person")
			quota := optional(fs, "quota", "the `space` it may use, such as 500M or 2G; 0 means any")
			messages := optional(fs, "max-messages", "the `number` of messages it may have; 0 means any")
			shared := new(*bool)
			fs.BoolFunc("shared", "it is no person: who gets rights in its mailboxes, over IMAP, finds them below Shared Folders; -shared=false ends that", func(s string) error {
				b, err := strconv.ParseBool(s)
				*shared = &b
				return err
			})
			sendAs := list(fs, "send-as", "further `addresses` it may send from, with commas between; *@domain is all of one")
			adminOf := list(fs, "admin-of", "the `domains` it looks after, with commas between; * is all")
			rename := new(*string)
			if verb == "set" {
				fs.BoolVar(&args.Generate, "new-password", false, "make a new password and show it")
				fs.BoolVar(&args.Enable, "enable", false, "let it log in again")
				rename = optional(fs, "address", "a new main `address`; the mail stays")
			}
			return func(in *input) (any, error) {
				var err error
				if args.Address, err = in.exactly("address"); err != nil {
					return nil, err
				}
				args.Name, args.SendAs, args.AdminOf, args.Rename, args.Shared = *name, *sendAs, *adminOf, *rename, *shared
				if *messages != nil {
					n, err := strconv.ParseInt(**messages, 10, 64)
					if err != nil || n < 0 {
						return nil, control.Usagef("%q is no number of messages", **messages)
					}
					args.Messages = &n
				}
				if *quota != nil {
					n, err := ParseSize(**quota)
					if err != nil {
						return nil, err
					}
					args.Quota = &n
				}
				if args.Password = *password; args.Password != nil && *args.Password == "-" {
					args.Password, err = readPassword(in.stdin)
				}
				return args, err
			}
		}
		return func(in *input) (any, error) {
			if verb == "list" {
				return args, in.none()
			}
			var err error
			args.Address, err = in.exactly("address")
			return args, err
		}
	}
}

// readPassword reads a line of at most 1,000 bytes.
func readPassword(r io.Reader) (*string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n > 0 && b[0] != '\n' {
			line = append(line, b[0])
		}
		if n > 0 && b[0] == '\n' || err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the password: %w", err)
		}
		if len(line) > 1000 {
			return nil, control.Usagef("the password has more than 1,000 bytes")
		}
	}
	pw := strings.TrimSuffix(string(line), "\r")
	if pw == "" {
		return nil, control.Usagef("there is no password on standard input")
	}
	return &pw, nil
}

// ParseSize reads a number of bytes, such as 500M: K, M, G and T are powers of
// 1,024, and may be followed by B or iB.
func ParseSize(s string) (int64, error) {
	num := strings.ToUpper(strings.TrimSpace(s))
	num = strings.TrimSuffix(strings.TrimSuffix(num, "B"), "I")
	shift := 0
	if n := len(num); n > 0 {
		if at := strings.IndexByte("KMGT", num[n-1]); at >= 0 {
			shift, num = 10*(at+1), strings.TrimSpace(num[:n-1])
		}
	}
	v, err := strconv.ParseInt(num, 10, 64)
	if err != nil || v < 0 || v > (1<<62)>>shift {
		return 0, control.Usagef("%q is no size: give a number, or one with K, M, G or T", s)
	}
	return v << shift, nil
}

// FormatSize writes a number of bytes for people.
func FormatSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	v, unit := float64(n), -1
	for v >= 1024 && unit < 3 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f%c", v, "KMGT"[unit])
}

func parseDomain(verb string) func(*flag.FlagSet) func(*input) (any, error) {
	return func(fs *flag.FlagSet) func(*input) (any, error) {
		var args domainArgs
		catchAll, postmaster := new(*string), new(*string)
		if verb == "add" || verb == "set" {
			catchAll = optional(fs, "catch-all", "the `address` that gets mail for unknown ones; empty refuses it")
			postmaster = optional(fs, "postmaster", "the `address` that gets mail for postmaster and abuse")
		}
		return func(in *input) (any, error) {
			if verb == "list" {
				return args, in.none()
			}
			var err error
			args.Name, err = in.exactly("domain")
			args.CatchAll, args.Postmaster = *catchAll, *postmaster
			return args, err
		}
	}
}

func parseAlias(verb string) func(*flag.FlagSet) func(*input) (any, error) {
	return func(fs *flag.FlagSet) func(*input) (any, error) {
		var args aliasArgs
		if verb == "list" {
			fs.StringVar(&args.Domain, "domain", "", "only those of this `domain`")
		}
		return func(in *input) (any, error) {
			switch verb {
			case "list":
				return args, in.none()
			case "delete":
				var err error
				args.Address, err = in.exactly("address")
				return args, err
			}
			if len(in.args) < 2 {
				return nil, control.Usagef("give an address and one or more targets")
			}
			args.Address, args.Targets = in.args[0], in.args[1:]
			return args, nil
		}
	}
}

func parseQueue(verb string) func(*flag.FlagSet) func(*input) (any, error) {
	return func(fs *flag.FlagSet) func(*input) (any, error) {
		var args queueArgs
		if verb != "show" {
			fs.StringVar(&args.Route, "route", "", "only those for this next-hop `domain`")
			fs.StringVar(&args.Sender, "sender", "", "only those from this `address`")
			fs.StringVar(&args.Recipient, "recipient", "", "only those to this `address`")
			fs.IntVar(&args.Limit, "limit", 0, "at most so `many`; 0 means all")
			if verb == "list" || verb == "drop" { // the others are about held ones, or are not
				fs.BoolVar(&args.Held, "held", false, "only held ones")
			}
			if verb != "list" {
				fs.BoolVar(&args.All, "all", false, "all items")
			}
		}
		return func(in *input) (any, error) {
			args.IDs = in.args
			if verb == "list" && len(in.args) == 0 {
				args.IDs = nil
			}
			if verb == "show" && len(in.args) == 0 {
				return nil, control.Usagef("give one or more IDs, as queue list shows them")
			}
			if args.All && len(in.args) > 0 {
				return nil, control.Usagef("either -all or IDs")
			}
			if len(in.args) == 0 {
				args.IDs = nil
			}
			return args, nil
		}
	}
}
