package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel/internal/testclock"
)

// memory is a Keeper.
type memory struct {
	b     []byte
	saves int
	err   error
}

func (m *memory) Load() ([]byte, error) { return m.b, m.err }
func (m *memory) Save(b []byte) error {
	if m.err == nil {
		m.b = b
		m.saves++
	}
	return m.err
}

func get(t *testing.T, c interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}) *tls.Certificate {
	t.Helper()
	cert, err := c.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSelfSignedIsKeptAndRenewed(t *testing.T) {
	clock, keep := &testclock.Clock{}, &memory{}
	names := []string{"mx.example.test", "localhost", "127.0.0.1", "::1"}
	s := &SelfSigned{Names: names, Keep: keep, Clock: clock}
	first := get(t, s)
	pool := x509.NewCertPool()
	pool.AddCert(first.Leaf)
	for _, n := range names {
		if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: n, CurrentTime: clock.Now()}); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	again := get(t, &SelfSigned{Names: names[:2], Keep: keep, Clock: clock})
	if !bytes.Equal(first.Leaf.Raw, again.Leaf.Raw) || keep.saves != 1 {
		t.Errorf("the next start made another certificate, %d saves", keep.saves)
	}
	clock.Advance(lifetime - renewBefore - time.Second)
	if get(t, s) != first {
		t.Error("renewed too early")
	}
	clock.Advance(time.Second)
	second := get(t, s)
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) || keep.saves != 2 {
		t.Errorf("not renewed: until %v, %d saves", second.Leaf.NotAfter, keep.saves)
	}
	third := get(t, &SelfSigned{Names: append(names, "new.example.test"), Keep: keep, Clock: clock})
	if third.Leaf.VerifyHostname("new.example.test") != nil {
		t.Error("a new name is not in the certificate")
	}
	keep.b = []byte("damaged")
	if get(t, &SelfSigned{Names: names, Keep: keep, Clock: clock}); keep.saves != 4 {
		t.Error("a damaged certificate was not replaced")
	}
}

func TestSelfSignedWithoutRoom(t *testing.T) {
	clock, keep := &testclock.Clock{}, &memory{err: errors.New("disk full")}
	if _, err := (&SelfSigned{Names: []string{"x"}, Keep: keep, Clock: clock}).GetCertificate(nil); !errors.Is(err, keep.err) {
		t.Errorf("start: %v", err)
	}
	keep.err = nil
	s := &SelfSigned{Names: []string{"x"}, Keep: keep, Clock: clock}
	first := get(t, s)
	keep.err = errors.New("disk full")
	clock.Advance(lifetime - time.Hour)
	if get(t, s) != first {
		t.Error("the old certificate still holds and must go on")
	}
	clock.Advance(2 * time.Hour)
	if _, err := s.GetCertificate(nil); err == nil {
		t.Error("the old certificate has ended")
	}
}

// files writes a pair and returns the names.
func files(t *testing.T, dir string, name string) (cert, key string) {
	t.Helper()
	b, err := Make([]string{name}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, rest := pem.Decode(b)
	k, _ := pem.Decode(rest)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put(t, cert, pem.EncodeToMemory(c))
	put(t, key, pem.EncodeToMemory(k))
	return cert, key
}

// put replaces a file as renewal programs do.
func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := files(t, dir, "one.test")
	var log bytes.Buffer
	f := &Files{Cert: cert, Key: key, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	first := get(t, f)
	if get(t, f) != first {
		t.Error("read again without need")
	}
	files(t, dir, "two.test")
	second := get(t, f)
	if second.Leaf.VerifyHostname("two.test") != nil {
		t.Error("the new certificate does not show")
	}
	// In the middle of a renewal the pair does not fit.
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	files(t, dir, "three.test")
	fresh, _ := os.ReadFile(key)
	put(t, key, old)
	for range 3 {
		if get(t, f) != second {
			t.Error("half a renewal was taken")
		}
	}
	if n := strings.Count(log.String(), "keeping the old"); n != 1 {
		t.Errorf("said %d times that it keeps the old one", n)
	}
	put(t, key, fresh)
	if get(t, f).Leaf.VerifyHostname("three.test") != nil {
		t.Error("the whole renewal was not taken")
	}
	os.Remove(cert)
	if get(t, f).Leaf.VerifyHostname("three.test") != nil {
		t.Error("a lost file ended the service")
	}
	if err := (&Files{Cert: cert, Key: key}).Load(); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("missing at the start: %v", err)
	}
}
