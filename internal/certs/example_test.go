package certs_test

import (
	"crypto/tls"
	"fmt"

	"github.com/mailkeel/mailkeel/internal/certs"
)

func Example() {
	own := &certs.SelfSigned{Names: []string{"mx.example.test", "localhost", "127.0.0.1"}}
	config := &tls.Config{GetCertificate: own.GetCertificate}
	cert, err := config.GetCertificate(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cert.Leaf.DNSNames, cert.Leaf.IPAddresses)
	// Output: [mx.example.test localhost] [127.0.0.1]
}
