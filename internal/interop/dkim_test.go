package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/filter/dkim"
	"github.com/mailkeel/mailkeel/internal/mailauth"
	"github.com/mailkeel/mailkeel/internal/peers"
	"github.com/mailkeel/mailkeel/internal/testdns"
)

// dkimMessages is how many messages are signed and verified in each direction.
const dkimMessages = 300

// dkimJob is what the programs read, and dkimAnswer what they write.
type dkimJob struct {
	Records    map[string]string `json:"records,omitempty"`
	Do         string            `json:"do,omitempty"`
	Message    []byte            `json:"message,omitempty"`
	Signatures int               `json:"signatures,omitempty"`
	Domain     string            `json:"domain,omitempty"`
	Selector   string            `json:"selector,omitempty"`
	Algorithm  string            `json:"algorithm,omitempty"`
	Header     string            `json:"header,omitempty"`
	Body       string            `json:"body,omitempty"`
	Key        string            `json:"key,omitempty"`
}

type dkimAnswer struct {
	Good    []bool
	Detail  string
	Message []byte
	Error   string
}

// dkimPeer is a program that signs and verifies.
type dkimPeer struct {
	name    string
	command peers.Command
	ed25519 bool
}

func dkimPeers(t *testing.T) []dkimPeer {
	python := "python3"
	load := func(p string) bool {
		_, err := peers.Command{Name: p, Args: []string{"-c", "import dkim, nacl.signing"}}.Run(t)
		return err == nil
	}
	if !load(python) {
		python = "/usr/bin/python3" // that of the system has Debian's modules
	}
	peers.Need(t, python, "perl")
	if !load(python) {
		peers.Missing(t, "python3-dkim or python3-nacl is not installed")
	}
	if _, err := (peers.Command{Name: "perl", Args: []string{"-MMail::DKIM::Signer", "-e", "1"}}).Run(t); err != nil {
		peers.Missing(t, "libmail-dkim-perl is not installed")
	}
	script := func(name string) string {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return []dkimPeer{
		{"python3-dkim", peers.Command{Name: python, Args: []string{"-c", script("dkim.py")}}, true},
		{"Mail::DKIM", peers.Command{Name: "perl", Args: []string{"-e", script("dkim.pl")}}, false},
	}
}

// run gives all jobs to one process.
func (p dkimPeer) run(t *testing.T, jobs []dkimJob) (answers []dkimAnswer) {
	t.Helper()
	var in strings.Builder
	for _, j := range jobs {
		if err := json.NewEncoder(&in).Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	p.command.Stdin = in.String()
	d := json.NewDecoder(strings.NewReader(p.command.MustRun(t)))
	for d.More() {
		var a dkimAnswer
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

// dkimMessage makes a message out of what canonical forms treat in a special way.
func dkimMessage(r *mathrand.Rand, i int) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	some := func() string {
		return pick("x", "a b", "a  b", "a\t b", "tr\u00fcb", "long "+strings.Repeat("word ", 30)+"end", "x=y; z", "\"q\"", "=?utf-8?Q?x?=", "1:2")
	}
	fold := func(s string) string { return strings.ReplaceAll(s, " ", pick(" ", " ", "\r\n ", "\r\n\t", "  ")) }
	var b strings.Builder
	field := func(name, value string) {
		fmt.Fprintf(&b, "%s:%s%s%s\r\n", pick(name, name, strings.ToUpper(name), strings.ToLower(name)), pick(" ", "", "  ", "\t"), value, pick("", "", " ", "\t "))
	}
	for range r.IntN(3) {
		field("Received", "from a by b; "+fold("Fri, 2 Jan 2026 03:04:05 +0000"))
	}
	field("From", pick("ann@example.org", "Ann <ann@example.org>", fold("Ann Example <ann@example.org>"), "\"Ann, E.\" <ann@EXAMPLE.org>"))
	field("To", pick("bob@example.com", fold("bob@example.com, cat@example.com, dan@example.com")))
	if r.IntN(10) > 0 {
		field("Subject", fold(some()+" "+some()))
	}
	field("Date", "Fri, 02 Jan 2026 03:04:05 +0000")
	field("Message-ID", fmt.Sprintf("<%d@example.org>", i))
	for range r.IntN(4) {
		field(pick("Cc", "Reply-To", "List-Id", "References", "X-Other", "MIME-Version", "Content-Type", "Comments", "List-Unsubscribe"), fold(some()))
	}
	b.WriteString("\r\n")
	for range r.IntN(8) {
		b.WriteString(pick("", "", " ", "\t", "x", " x", "x ", "a  b\t\tc", ".", "..", "-- ", "From x", some(), strings.Repeat("y", 900)) + "\r\n")
	}
	if r.IntN(100) == 0 {
		b.WriteString(strings.Repeat("line of a longer message  \r\n", 1000))
	}
	return b.String()
}

// TestDKIMAgreesWithOthers signs messages that others verify, and verifies those that
// they sign.
func TestDKIMAgreesWithOthers(t *testing.T) {
	others := dkimPeers(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var keys dkim.FixedKeys
	records, zone := map[string]string{}, &testdns.Table{TXT: map[string][]string{}}
	for selector, key := range map[string]any{"rsa": rsaKey, "ed": edKey} {
		var k dkim.Key
		switch key := key.(type) {
		case *rsa.PrivateKey:
			k, err = dkim.NewKey("example.org", selector, key)
		case ed25519.PrivateKey:
			k, err = dkim.NewKey("example.org", selector, key)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		records[k.Name()], zone.TXT[k.Name()] = k.Record(), []string{k.Record()}
	}
	rsaPEM := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	seed := base64.StdEncoding.EncodeToString(edKey.Seed())

	seeds := mathrand.New(mathrand.NewPCG(1, 2))
	messages := make([]string, dkimMessages)
	for i := range messages {
		messages[i] = dkimMessage(seeds, i)
	}
	for _, p := range others {
		t.Run("ours, verified by "+p.name, func(t *testing.T) {
			t.Parallel()
			jobs := []dkimJob{{Records: records}}
			for _, m := range messages {
				jobs = append(jobs, dkimJob{Do: "verify", Message: signedBy(t, keys, m), Signatures: len(keys)})
			}
			for _, j := range jobs[1:11] { // and some that were changed
				j.Message = append(bytes.Clone(j.Message), "more\r\n"...)
				jobs = append(jobs, j)
			}
			want := 1
			if p.ed25519 {
				want = 2
			}
			agreed := 0
			for i, a := range p.run(t, jobs) {
				good := 0
				for _, ok := range a.Good {
					if ok {
						good++
					}
				}
				if i >= dkimMessages {
					if good > 0 || len(a.Good) != want && !strings.Contains(a.Error, "body hash mismatch") {
						t.Errorf("message %d, changed: %+v", i-dkimMessages, a)
					}
					continue
				}
				if good != want || len(a.Good) != want {
					t.Errorf("message %d: %+v\n%s", i, a, jobs[i+1].Message)
					continue
				}
				agreed++
			}
			if agreed != dkimMessages {
				t.Errorf("%d of %d agree", agreed, dkimMessages)
			}
			t.Logf("%d of %d agree", agreed, dkimMessages)
		})
		t.Run("theirs, of "+p.name, func(t *testing.T) {
			t.Parallel()
			jobs := []dkimJob{{Records: records}}
			for i, m := range messages {
				j := dkimJob{Do: "sign", Message: []byte(m), Domain: "example.org", Selector: "rsa", Algorithm: "rsa-sha256", Key: rsaPEM,
					Header: []string{"relaxed", "simple"}[i%2], Body: []string{"relaxed", "simple"}[i/2%2]}
				if p.ed25519 && i%3 == 0 {
					j.Selector, j.Algorithm, j.Key = "ed", "ed25519-sha256", seed
				}
				jobs = append(jobs, j)
			}
			agreed := 0
			for i, a := range p.run(t, jobs) {
				vs, err := mailauth.VerifyDKIM(t.Context(), zone, bytes.NewReader(a.Message), time.Now())
				if a.Error != "" || err != nil || len(vs) != 1 || vs[0].Result != mailauth.Pass {
					t.Errorf("message %d: %s, %+v, %v\n%s", i, a.Error, vs, err, a.Message)
					continue
				}
				agreed++
			}
			if agreed != dkimMessages {
				t.Errorf("%d of %d agree", agreed, dkimMessages)
			}
			t.Logf("%d of %d agree", agreed, dkimMessages)
		})
	}
}

// signedBy returns a message as it leaves.
func signedBy(t *testing.T, keys dkim.Keys, m string) (left []byte) {
	t.Helper()
	s := &dkim.Signer{Keys: keys}
	s.Next = mailkeel.HandlerFunc(func(ctx context.Context, _ *mailkeel.Envelope, c mailkeel.Content) error {
		rc, err := c.Open(ctx)
		if err != nil {
			return err
		}
		defer rc.Close()
		left, err = io.ReadAll(rc)
		return err
	})
	env := &mailkeel.Envelope{ID: "m", Rcpts: []mailkeel.Recipient{{Addr: "bob@example.com"}}}
	if r := mailkeel.Deliver(t.Context(), s, env, inMemory(m))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	return left
}

// inMemory is a Content.
type inMemory string

func (s inMemory) Size() int64 { return int64(len(s)) }
func (s inMemory) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(s))), nil
}
