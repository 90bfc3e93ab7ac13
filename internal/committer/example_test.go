package committer_test

import (
	"context"
	"fmt"

	"github.com/mailkeel/mailkeel/internal/committer"
)

func Example() {
	numbers := &list{} // a Target that keeps numbers; see committer_test.go
	c := &committer.Committer{Target: numbers}
	err := c.Do(context.Background(), func() error { return numbers.add(7) })
	fmt.Println(numbers.committed, err)
	// Output: [7] <nil>
}
