package imap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/static"
	"github.com/mailkeel/mailkeel/internal/dialog"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"}, NotAfter: time.Now().Add(1e6 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// TestDialogs plays testdata/*.txt. Users are ann, bob and cat with the password
// secret, and desk, which is no person; see users. The clock stands, so that ann's INBOX has the UIDVALIDITY 1767323045, the
// next mailbox one more, and so on. A file whose name begins with "tls" meets a
// server that wants TLS for logging in; with "compress" one that offers COMPRESS; with
// "auth-" one that takes tokens and lets an administrator act as others: see grants.
//
//	= deflate                                      both sides compress from here on
//	= deflate-partial                              the same, by a client that flushes partially
//	= put ann INBOX (\Seen) Subject: x\n\nHello    files a message
//	= flags ann INBOX 3 \Seen                      adds a flag, as another process would
//	= expunge ann INBOX 3                          likewise
//	= forget ann 12                                forgets tombstones up to a MODSEQ
//	= create ann x
//	= rename ann x y
//	= subscribe ann x on                           or off
//	= above $a $b                                  fails unless a number is above another
//	= advance 31m                                  moves the clock of the server
func TestDialogs(t *testing.T) {
	dialog.RunFiles(t, "testdata/*.txt", dialogRunner)
}

func dialogRunner(t *testing.T) *dialog.Runner {
	_, file, _ := strings.Cut(t.Name(), "/")
	clock := new(testclock.Clock)
	s := &Server{
		Store:        &store.Store{Backend: new(memstore.Backend), Blobs: &memblob.Store{Clock: clock}, Clock: clock},
		InsecureAuth: !strings.HasPrefix(file, "tls"),
		Clock:        clock,
		MaxAppend:    100_000,
		Compress:     strings.HasPrefix(file, "compress"),
		Comment:      "A test",
		Admin:        "mailto:help@example.org",
	}
	known, limits := users(), &quotas{of: map[store.AccountID]mailkeel.Quota{}}
	s.Store.Limit = limits.limit
	if !strings.HasPrefix(file, "alone") {
		s.Roster, s.Quotas = known, limits
	}
	if strings.HasPrefix(file, "auth-") {
		s.Auth = grants()
	}
	if !s.InsecureAuth {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	}
	addr := start(t, s)
	id := func(name string) store.AccountID { return store.AccountID(name[:1] + "1") }
	for _, who := range []string{"ann", "bob", "desk"} {
		if _, err := s.Store.As(id(who)).Folder(t.Context(), inbox); err != nil {
			t.Fatal(err)
		}
	}
	message := func(args string, do func(a *store.Access, box store.MailboxID, uid store.UID, rest string) error) error {
		f := strings.SplitN(args+" ", " ", 4)
		a := s.Store.As(id(f[0]))
		folder, err := a.Folder(t.Context(), f[1])
		if err != nil {
			return err
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil {
			return err
		}
		return do(a, folder.ID, store.UID(uid), strings.TrimSpace(f[3]))
	}
	return &dialog.Runner{
		Dial:   func() (net.Conn, error) { return net.Dial("tcp", addr) },
		Trace:  func(l string) { t.Log(l) },
		Layers: map[string]func(net.Conn) net.Conn{"deflate": deflated(false), "deflate-partial": deflated(true)},
		Do: map[string]func(string) error{
			"put": func(args string) error {
				f := strings.SplitN(args, " ", 3)
				flags, text, _ := strings.Cut(strings.TrimPrefix(f[2], "("), ") ")
				put(t, s.Store, id(f[0]), f[1], strings.ReplaceAll(text, `\n`, "\n"), strings.Fields(flags)...)
				return nil
			},
			"flags": func(args string) error {
				return message(args, func(a *store.Access, box store.MailboxID, uid store.UID, flag string) error {
					_, _, err := a.SetFlags(t.Context(), box, store.FlagChange{Add: []string{flag}}, uid)
					return err
				})
			},
			"expunge": func(args string) error {
				return message(args, func(a *store.Access, box store.MailboxID, uid store.UID, _ string) error {
					_, err := a.Expunge(t.Context(), box, uid)
					return err
				})
			},
			"above": func(args string) error {
				var a, b int
				if _, err := fmt.Sscan(args, &a, &b); err != nil || a <= b {
					return fmt.Errorf("%s: %v", args, err)
				}
				return nil
			},
			"forget": func(args string) error {
				who, through, _ := strings.Cut(args, " ")
				n, err := strconv.Atoi(through)
				if err != nil {
					return err
				}
				return s.Store.Forget(t.Context(), id(who), store.ModSeq(n))
			},
			"delete": func(args string) error {
				who, name, _ := strings.Cut(args, " ")
				f, err := s.Store.As(id(who)).Folder(t.Context(), name)
				if err != nil {
					return err
				}
				return s.Store.As(id(who)).Delete(t.Context(), f.ID)
			},
			"create": func(args string) error {
				who, name, _ := strings.Cut(args, " ")
				_, err := s.Store.As(id(who)).Create(t.Context(), name, "")
				return err
			},
			"rename": func(args string) error {
				f := strings.Fields(args)
				box, err := s.Store.As(id(f[0])).Folder(t.Context(), f[1])
				if err != nil {
					return err
				}
				return s.Store.As(id(f[0])).Rename(t.Context(), box.ID, f[2])
			},
			"subscribe": func(args string) error {
				f := strings.Fields(args)
				box, err := s.Store.As(id(f[0])).Folder(t.Context(), f[1])
				if err != nil {
					return err
				}
				return s.Store.As(id(f[0])).Subscribe(t.Context(), box.ID, f[2] == "on")
			},
			"quota": func(args string) (err error) {
				limits.all.Bytes, err = strconv.ParseInt(args, 10, 64)
				return err
			},
			"advance": func(args string) error {
				d, err := time.ParseDuration(args)
				clock.Advance(d)
				return err
			},
		},
	}
}

// grants are users and the administrator user@example.com, whose token is that of the
// examples in RFC 7628.
func grants() *static.Directory {
	d := users()
	d.Accounts = append(d.Accounts, static.Account{
		Account: accounts.Account{ID: "u1", Address: "user@example.com", AdminOf: []string{"*"}}, Password: "secret",
	})
	d.Impersonation = true
	d.Certificates = accounts.CertificateAddress
	d.Tokens = func(_ context.Context, a accounts.Attempt) (string, []string, error) {
		switch a.Password {
		case "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==":
			// He is an administrator, but his tokens are for himself.
			if a.Login != "" && a.Login != "user@example.com" {
				return "", nil, accounts.ErrMayNotAct
			}
			return "user@example.com", nil, nil
		case "submission-only":
			return "user@example.com", []string{"submission"}, nil
		}
		return "", nil, &accounts.TokenError{Scope: "example_scope", OpenIDConfiguration: "https://example.com/.well-known/openid-configuration"}
	}
	return d
}

// quotas are limits that can be set.
type quotas struct {
	mu  sync.Mutex
	all mailkeel.Quota // of those that have none of their own
	of  map[store.AccountID]mailkeel.Quota
}

func (q *quotas) limit(_ context.Context, id store.AccountID) (mailkeel.Quota, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l, ok := q.of[id]; ok {
		return l, nil
	}
	return q.all, nil
}

func (q *quotas) SetQuota(_ context.Context, id store.AccountID, l mailkeel.Quota) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of[id] = l
	return nil
}

// users are ann, bob and cat, who looks after their domain, with the password
// "secret"; and desk, which is no person.
func users() *static.Directory {
	d := &static.Directory{}
	for _, name := range []string{"ann", "bob", "cat", "desk"} {
		a := accounts.Account{ID: store.AccountID(name[:1] + "1"), Address: name + "@example.org", Shared: name == "desk"}
		if name == "cat" {
			a.AdminOf = []string{"example.org"}
		}
		d.Accounts = append(d.Accounts, static.Account{Account: a, Password: "secret"})
	}
	return d
}
