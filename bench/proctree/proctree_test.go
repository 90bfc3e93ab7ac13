package proctree_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/mailkeel/mailkeel/bench/proctree"
)

func Example() {
	fmt.Println(slices.Contains(proctree.PIDs(os.Getpid()), os.Getpid()))
	// Output: true
}

func TestThisProcess(t *testing.T) {
	if me := os.Getpid(); proctree.PSS(me) <= 0 || proctree.RSS(me) <= 0 || proctree.CPU(me) < 0 || proctree.Busy() <= 0 {
		t.Error("no figures of this process")
	}
}
