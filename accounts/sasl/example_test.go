package sasl_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/accounts/sasl"
	"github.com/mailkeel/mailkeel/accounts/static"
)

func Example() {
	users := &static.Directory{Accounts: []static.Account{
		{Account: accounts.Account{ID: "a1", Address: "ann@example.org"}, Password: "correct horse"},
	}}
	o := sasl.Offer{Auth: users}
	fmt.Println(o.Mechanisms(true), o.Mechanisms(false))

	for _, response := range []string{"\x00ann@example.org\x00wrong", "\x00ann@example.org\x00correct horse"} {
		s, err := o.Start(context.Background(), "PLAIN", accounts.Attempt{Door: "imap", TLS: true}, func(l accounts.Login) {
			fmt.Println("welcome", l.Account)
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, done, err := s.Next([]byte(response)) // base64 is the door's
		fmt.Println(done, err)
	}
	// Output:
	// [SCRAM-SHA-256 PLAIN LOGIN] []
	// false authentication failed
	// welcome a1
	// true <nil>
}
