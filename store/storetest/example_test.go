package storetest_test

import (
	"testing"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
	"github.com/mailkeel/mailkeel/store/storetest"
)

func ExampleRun() {
	// In the tests of a backend, with its own constructor in New:
	_ = func(t *testing.T) {
		storetest.Run(t, storetest.Options{
			New:   func(*testing.T) store.Backend { return &memstore.Backend{} },
			Blobs: func(_ *testing.T, c mailkeel.Clock) blob.Store { return &memblob.Store{Clock: c} },
		})
	}
}
