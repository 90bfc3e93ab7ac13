package imap

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/mailkeel/mailkeel/internal/peers"
)

const rfcToken = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="

// The clients of go-imap with a token and a certificate.
func TestImapclientLogsIn(t *testing.T) {
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := &Server{Auth: grants(), TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}}
	addr := startBoth(t, s)[true]
	for name, mech := range map[string]sasl.Client{
		"OAUTHBEARER": sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "user@example.com", Token: rfcToken}),
		"EXTERNAL":    sasl.NewExternalClient(""),
		"acting":      sasl.NewExternalClient("ann@example.org"),
		"PLAIN":       sasl.NewPlainClient("ann@example.org", "user@example.com", "secret"),
	} {
		c, err := imapclient.DialTLS(addr, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true, Certificates: ca.issue(t, "user@example.com")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Authenticate(mech); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	c, err := imapclient.DialTLS(addr, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Authenticate(sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Token: "stale"})); err == nil || !strings.Contains(err.Error(), "invalid_token") {
		t.Error("a stale token:", err)
	}
}

// curl with a token in both forms, a certificate, and as another.
func TestCurlLogsIn(t *testing.T) {
	peers.Need(t, "curl")
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := &Server{Auth: grants(), TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}}
	both := startBoth(t, s)
	cert := ca.issue(t, "user@example.com")[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		ok   bool
	}{
		"OAUTHBEARER": {[]string{"-u", "user@example.com:", "--oauth2-bearer", rfcToken, "--login-options", "AUTH=OAUTHBEARER"}, true},
		"XOAUTH2":     {[]string{"-u", "user@example.com:", "--oauth2-bearer", rfcToken, "--login-options", "AUTH=XOAUTH2"}, true},
		"stale":       {[]string{"-u", "user@example.com:", "--oauth2-bearer", "stale", "--login-options", "AUTH=OAUTHBEARER"}, false},
		"stale 2":     {[]string{"-u", "user@example.com:", "--oauth2-bearer", "stale", "--login-options", "AUTH=XOAUTH2"}, false},
		"PLAIN":       {[]string{"-u", "ann@example.org:secret", "--login-options", "AUTH=PLAIN", "--sasl-ir"}, true},
		"LOGIN":       {[]string{"-u", "ann@example.org:secret", "--login-options", "AUTH=LOGIN"}, true},
		"acting":      {[]string{"-u", "user@example.com:secret", "--login-options", "AUTH=PLAIN", "--sasl-authzid", "ann@example.org"}, true},
		"not acting":  {[]string{"-u", "bob@example.org:secret", "--login-options", "AUTH=PLAIN", "--sasl-authzid", "ann@example.org"}, false},
		"EXTERNAL":    {[]string{"-u", "user@example.com:", "--cert", file, "--login-options", "AUTH=EXTERNAL"}, true},
	} {
		for implicit, addr := range both {
			url := map[bool]string{false: "imap://", true: "imaps://"}[implicit] + addr + "/INBOX"
			out, err := exec.Command("curl", append([]string{"-sS", "-k", "--ssl-reqd", "--max-time", "30", url, "-X", "NOOP"}, tt.args...)...).CombinedOutput()
			if (err == nil) != tt.ok {
				t.Errorf("%s, implicit %v: %v: %s", name, implicit, err, out)
			}
		}
	}
}

// Python's imaplib, which knows nothing of SASL but the frame.
func TestImaplibAuthenticates(t *testing.T) {
	peers.Need(t, "python3")
	addr := startBoth(t, &Server{Auth: grants(), TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}})[true]
	host, port, _ := strings.Cut(addr, ":")
	script := `
import imaplib, ssl, sys
c = imaplib.IMAP4_SSL(sys.argv[1], int(sys.argv[2]), ssl_context=ssl._create_unverified_context())
print(c.authenticate("PLAIN", lambda _: b"\0ann@example.org\0secret")[0])
print(c.select("INBOX")[0])
imaplib.Commands["UNAUTHENTICATE"] = ("AUTH", "SELECTED")
print(c._simple_command("UNAUTHENTICATE")[0])
c.state = "NONAUTH"
print(c.authenticate("XOAUTH2", lambda _: b"user=user@example.com\1auth=Bearer ` + rfcToken + `\1\1")[0])
print(c.logout()[0])
`
	out, err := exec.Command("python3", "-c", script, host, port).CombinedOutput()
	if err != nil || strings.Join(strings.Fields(string(out)), " ") != "OK OK OK OK BYE" {
		t.Errorf("%v: %s", err, out)
	}
}
