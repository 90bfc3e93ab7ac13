package addr_test

import (
	"fmt"

	"github.com/mailkeel/mailkeel/internal/addr"
)

func Example() {
	m, err := addr.Parse(`<@relay.example:"ada l."@EXAMPLE.com>`, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	domain, _ := addr.Domain(m.Domain)
	fmt.Println(m.Local, "at", domain)
	fmt.Println("RCPT TO:" + m.Path())
	// Output:
	// ada l. at example.com
	// RCPT TO:<"ada l."@EXAMPLE.com>
}
