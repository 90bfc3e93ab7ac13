package linewriter_test

import (
	"fmt"
	"strings"

	"github.com/mailkeel/mailkeel/internal/linewriter"
)

func Example() {
	var out strings.Builder
	w := linewriter.Writer{W: &out}
	w.Raw("* OK ready")
	w.End()
	w.Raw("* 1 FETCH (FLAGS ")
	w.Abandon() // something failed
	w.Raw("* ")
	w.Num(23)
	w.Raw(" EXISTS")
	w.End()
	w.Release() // before the client is waited for
	fmt.Print(strings.ReplaceAll(out.String(), "\r", ""))
	// Output:
	// * OK ready
	// * 23 EXISTS
}
