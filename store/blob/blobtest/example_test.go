package blobtest_test

import (
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/blobtest"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
)

func ExampleRun() {
	// In the tests of a blob store, with its own constructor in New:
	_ = func(t *testing.T) {
		blobtest.Run(t, blobtest.Options{
			New: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
		})
	}
}
