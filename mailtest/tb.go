package mailtest

import "context"

// A TB is what this package needs of a TB, and what the like of other test
// frameworks have too. A program that is no test may make one of its own: Fatalf and
// Fatal do not return, and Cleanup functions run at its end.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Log(args ...any)
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}
