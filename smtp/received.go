package smtp

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// received is the Received field (RFC 5321, 4.4), in the shape that Postfix gives
// it, because tools know that.
func (tx *transaction) received() []byte {
	c, o := tx.c, tx.env.Origin
	var b strings.Builder
	b.WriteString("Received: from " + o.Hello + " (")
	if a := o.Addr.Addr(); a.IsValid() {
		name := c.rdns
		if name == "" {
			name = "unknown"
		}
		b.WriteString(name + " [")
		if a.Is6() {
			b.WriteString("IPv6:")
		}
		b.WriteString(a.WithZone("").String() + "]")
	} else {
		b.WriteString("local")
	}
	b.WriteString(")\r\n")
	if c.with != "" {
		b.WriteString("\t(using " + c.with + ")\r\n")
	}
	product, with := c.s.Product, tx.with
	if product == "" {
		product = "mailkeel"
	}
	if tx.env.UTF8 { // RFC 6531, 4.3
		with = "UTF8" + strings.TrimPrefix(with, "E")
	}
	fmt.Fprintf(&b, "\tby %s (%s) with %s id %s", c.s.Hostname, product, with, tx.env.ID)
	if len(tx.given) == 1 {
		b.WriteString("\r\n\tfor <" + tx.first + ">")
	}
	b.WriteString("; " + o.Time.Format("Mon, 2 Jan 2006 15:04:05 -0700 (MST)") + "\r\n")
	return []byte(b.String())
}

// tlsWords say how a connection is encrypted.
func tlsWords(st tls.ConnectionState) string {
	suite := tls.CipherSuiteName(st.CipherSuite)
	bits := 256
	if strings.Contains(suite, "_128_") {
		bits = 128
	} else if strings.Contains(suite, "3DES") {
		bits = 168
	}
	version := strings.Replace(tls.VersionName(st.Version), "TLS ", "TLSv", 1)
	return fmt.Sprintf("%s with cipher %s (%d/%d bits)", version, suite, bits, bits)
}
