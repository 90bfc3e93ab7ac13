package pop3

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

func tlsConfig() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

// TestDialogs plays testdata/*.txt. Users are ann and bob with the password secret,
// and zoë with gehëim; and those of the RFCs, see rfcUsers. The clock stands, so that UIDVALIDITY is 1767323045. A file
// whose name begins with "tls" meets a server that wants TLS for logging in; one with
// "auth-" meets one that takes a token of ann, and where bob may act as her.
//
//	= put ann INBOX 120                 files a message of so many octets
//	= text ann INBOX Subject: x\n\nHi   files a message, with CRLF for \n
//	= advance 31m                       moves the clock of the server
//	= unseen ann 2                      so many messages are not \Seen
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
		Auth:         rfcUsers{users()},
	}
	if !s.InsecureAuth {
		s.TLS = tlsConfig()
	}
	if strings.HasPrefix(file, "auth-") {
		d := users()
		d.Impersonation = true
		for i := range d.Accounts {
			if d.Accounts[i].ID == "b1" {
				d.Accounts[i].AdminOf = []string{"example.org"}
			}
		}
		d.Tokens = func(_ context.Context, a accounts.Attempt) (string, []string, error) {
			if a.Password == "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" { // RFC 7628, 4.1
				return "ann@example.org", nil, nil
			}
			return "", nil, &accounts.TokenError{Scope: "example_scope"}
		}
		s.Auth = d
	}
	if strings.HasPrefix(file, "site") {
		s.MaxPerAccount, s.LoginDelay, s.Expire, s.Name, s.Version = 1, 15*time.Minute, 30, "Post", "1.2"
	}
	addr := start(t, s)
	id := func(name string) store.AccountID { return store.AccountID(name[:1] + "1") }
	for _, who := range []string{"ann", "bob", "zoë"} {
		if _, err := s.Store.As(id(who)).Folder(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
	}
	r := &dialog.Runner{
		Dial:  func() (net.Conn, error) { return net.Dial("tcp", addr) },
		Trace: func(l string) { t.Logf("%.200s", l) },
		Vars:  map[string]string{"n248": strings.Repeat("A", 248), "n4000": strings.Repeat("A", 4000)},
		Do: map[string]func(string) error{
			"put": func(args string) error {
				f := strings.Fields(args)
				n, err := strconv.Atoi(f[2])
				put(t, s.Store, id(f[0]), f[1], "Subject: "+strings.Repeat("a", n-len("Subject: \r\n\r\n"))+"\r\n\r\n")
				return err
			},
			"text": func(args string) error {
				f := strings.SplitN(args, " ", 3)
				put(t, s.Store, id(f[0]), f[1], strings.ReplaceAll(f[2], `\n`, "\r\n"))
				return nil
			},
			"advance": func(args string) error {
				d, err := time.ParseDuration(args)
				clock.Advance(d)
				return err
			},
			"unseen": func(args string) error {
				f := strings.Fields(args)
				box, err := s.Store.As(id(f[0])).Folder(t.Context(), "INBOX")
				if err == nil && strconv.Itoa(box.Unseen) != f[1] {
					err = fmt.Errorf("%d unseen messages", box.Unseen)
				}
				return err
			},
		},
	}
	return r
}

// users are ann, bob and zoë.
func users() *static.Directory {
	d := &static.Directory{}
	for name, password := range map[string]string{"ann": "secret", "bob": "secret", "zoë": "gehëim"} {
		a := accounts.Account{ID: store.AccountID(name[:1] + "1"), Address: name + "@example.org"}
		d.Accounts = append(d.Accounts, static.Account{Account: a, Password: password})
	}
	return d
}

// rfcUsers adds who occurs in the RFCs, whose names are no addresses: mrose with the
// password secret (RFC 1939), and test with test (RFC 4616).
type rfcUsers struct{ *static.Directory }

func (r rfcUsers) Authenticate(ctx context.Context, a accounts.Attempt) (accounts.Login, error) {
	switch (accounts.Attempt{Login: a.Login, Password: a.Password}) {
	case accounts.Attempt{Login: "mrose", Password: "secret"}:
		return accounts.Login{Account: "m1"}, nil
	case accounts.Attempt{Login: "test", Password: "test"}:
		return accounts.Login{Account: "t1"}, nil
	}
	return r.Directory.Authenticate(ctx, a)
}

var errDisk = errors.New("disk on fire")

// put files a message and returns its UID.
func put(t testing.TB, s *store.Store, account store.AccountID, mailbox, text string) store.UID {
	t.Helper()
	ctx := context.Background()
	w, err := s.Blobs.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := bytes.NewBufferString(text).WriteTo(w); err != nil {
		t.Fatal(err)
	}
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	a := s.As(account)
	f, err := a.Folder(ctx, mailbox)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := a.Append(ctx, f.ID, store.Append{Blob: info})
	if err != nil {
		t.Fatal(err)
	}
	return ps[0].UID
}
