package password_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/accounts/password"
)

func Example() {
	ctx := context.Background()
	h := &password.Hasher{Params: password.Params{Memory: 64}} // the zero Hasher outside of tests
	phc, err := h.Hash(ctx, "correct horse")
	fmt.Println(phc[:26], err)

	for _, try := range []string{"correct horse", "battery staple"} {
		ok, err := h.Verify(ctx, phc, try)
		fmt.Println(ok, err)
	}
	ok, err := h.Verify(ctx, "", "whatever") // an unknown user: the same work
	fmt.Println(ok, err)
	fmt.Println(h.Check("ann@example.org", "12345678"))
	// Output:
	// $argon2id$v=19$m=64,t=2,p= <nil>
	// true <nil>
	// false <nil>
	// false <nil>
	// accounts: password too weak: one that everybody tries first
}
