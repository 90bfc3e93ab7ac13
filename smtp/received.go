package smtp

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strings"
)

// received is the Received field (RFC 5321, 4.4), in the shape that Postfix gives
// it, because tools know that.
func (tx *transaction) received() []byte {
	c, o := tx.c, tx.env.Origin
	b := make([]byte, 0, 512)
	b = append(append(append(b, "Received: from "...), o.Hello...), " ("...)
	if a := o.Addr.Addr(); a.IsValid() {
		b = append(append(b, cmp.Or(c.rdns, "unknown")...), " ["...)
		if a.Is6() {
			b = append(b, "IPv6:"...)
		}
		b = append(a.WithZone("").AppendTo(b), ']')
	} else {
		b = append(b, "local"...)
	}
	b = append(b, ")\r\n"...)
	if c.with != "" {
		b = append(append(append(b, "\t(using "...), c.with...), ")\r\n"...)
	}
	with := tx.with
	if tx.env.UTF8 { // RFC 6531, 4.3
		with = "UTF8" + strings.TrimPrefix(with, "E")
	}
	for _, part := range [...]string{"\tby ", c.s.Hostname, " (", cmp.Or(c.s.Product, "mailkeel"), ") with ", with, " id ", tx.env.ID} {
		b = append(b, part...)
	}
	if len(tx.given) == 1 {
		b = append(append(append(b, "\r\n\tfor <"...), tx.first...), '>')
	}
	b = o.Time.AppendFormat(append(b, "; "...), "Mon, 2 Jan 2006 15:04:05 -0700 (MST)")
	return append(b, "\r\n"...)
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
