package testpg_test

import (
	"fmt"
	"testing"

	"github.com/mailkeel/mailkeel/internal/testpg"
)

// A test starts a server, and makes a database of its own.
func Example() {
	test := func(t *testing.T) {
		c := testpg.Start(t, testpg.Options{NoSync: true})
		conn := c.Database(t)
		_ = conn // for pgdb.Open
	}
	fmt.Println(test != nil)
	// Output: true
}
