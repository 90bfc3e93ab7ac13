package server

import (
	"crypto/tls"
	"log/slog"

	"github.com/mailkeel/mailkeel/internal/certs"
)

// CertFiles returns a TLS configuration with the certificate chain and key of two
// PEM files. They are read again when they change, so that a renewal needs no
// restart; while they do not fit together, the old ones go on.
func CertFiles(cert, key string, log *slog.Logger) (*tls.Config, error) {
	f := &certs.Files{Cert: cert, Key: key, Logger: log}
	if err := f.Load(); err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: f.GetCertificate, MinVersion: tls.VersionTLS12}, nil
}
