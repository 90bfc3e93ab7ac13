// Package certs gives TLS servers their certificate: from files that someone else
// renews (Files), or a self-signed one that it makes and renews itself
// (SelfSigned).
//
// Both have a GetCertificate for a tls.Config, so that a new certificate holds
// from the next handshake on, without a restart.
package certs

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files is a certificate chain and its key in PEM files, re-read when one of them
// has changed. Both names are required.
type Files struct {
	Cert, Key string
	Logger    *slog.Logger // nil means discard

	mu    sync.Mutex
	cert  *tls.Certificate
	stamp [2]stamp
}

// stamp tells whether a file has changed.
type stamp struct {
	time time.Time
	size int64
	info fs.FileInfo
}

func (s stamp) same(t stamp) bool {
	return s.info != nil && t.info != nil && os.SameFile(s.info, t.info) && s.size == t.size && s.time.Equal(t.time)
}

// Load reads the files, so that a mistake shows at the start.
func (f *Files) Load() error {
	_, err := f.GetCertificate(nil)
	return err
}

// GetCertificate is for tls.Config. Where new files cannot be read or do not fit
// together, as in the middle of a renewal, it goes on with the old ones.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := [2]stamp{look(f.Cert), look(f.Key)}
	if f.cert != nil && now[0].same(f.stamp[0]) && now[1].same(f.stamp[1]) {
		return f.cert, nil
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		err = fmt.Errorf("certs: cannot use %s with %s: %w", f.Cert, f.Key, err)
		if f.cert == nil {
			return nil, err
		}
		logger(f.Logger).Error("certs: keeping the old certificate", "err", err)
		f.stamp = now // say so once
		return f.cert, nil
	}
	if f.cert != nil {
		logger(f.Logger).Info("certs: certificate re-read", "file", f.Cert, "until", cert.Leaf.NotAfter)
	}
	f.cert, f.stamp = &cert, now
	return f.cert, nil
}

func look(name string) stamp {
	fi, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	return stamp{fi.ModTime(), fi.Size(), fi}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
