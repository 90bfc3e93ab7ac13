package blobtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mailkeel/mailkeel/store/blob"
)

// testStager is for stores whose Writers are Stagers.
func testStager(b *bench) {
	for _, size := range []int{0, 1, 10_000, 3 << 20} {
		text := strings.Repeat("x", size/2) + strings.Repeat("y", size-size/2)
		w, err := b.Create(b.Context())
		b.must(err)
		defer w.Close()
		st, ok := w.(blob.Stager)
		if !ok {
			b.Skip("no Stager")
		}
		if st.Wait() == nil {
			b.Error("waited for what is not staged")
		}
		_, err = io.WriteString(w, text)
		b.must(err)
		read := func(when string) {
			rc, err := st.Open()
			if err != nil {
				b.Errorf("%d bytes, %s: %v", size, when, err)
				return
			}
			got, err := io.ReadAll(rc)
			if rc.Close() != nil || err != nil || string(got) != text {
				b.Errorf("%d bytes, %s: read %d, %v", size, when, len(got), err)
			}
		}
		read("before Stage")
		info, err := st.Stage()
		b.must(err)
		if info.Size != int64(size) {
			b.Errorf("staged %+v, want %d bytes", info, size)
		}
		if s, ok := w.(blob.Starter); ok && size != 1 {
			s.Start()
			s.Start() // once is enough
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { read("staged") })
			wg.Go(func() {
				if err := st.Wait(); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		read("durable")
		if b.read(info.Ref, 0, -1) != text {
			b.Errorf("%d bytes: the store has others", size)
		}
		late, err := st.Open()
		b.must(err)
		b.must(w.Close())
		for i := range 20 { // that might take the same memory
			b.put(fmt.Sprint(size, "other", i))
		}
		if got, err := io.ReadAll(late); string(got) != text || err != nil {
			b.Errorf("%d bytes: read %d after Close, %v", size, len(got), err)
		}
		b.must(late.Close())
		if _, err := st.Open(); err == nil {
			b.Error("opened after Close")
		}
		if err := st.Wait(); err != nil {
			b.Error("Wait after Close:", err)
		}
	}
}

type text string

func (t text) Size() int64 { return int64(len(t)) }

func (t text) Open(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(t))), nil
}

func testAdoptStaged(b *bench) {
	a, err := blob.AdoptStaged(b.Context(), b.Store, text("hello"))
	b.must(err)
	rc, err := a.Open(b.Context())
	b.must(err)
	if got, err := io.ReadAll(rc); string(got) != "hello" || err != nil {
		b.Errorf("read %q, %v", got, err)
	}
	b.must(rc.Close())
	if a.Wait != nil {
		if b.must(a.Wait()); a.Wait() != nil {
			b.Error("waited once only")
		}
	}
	if _, err := b.Stat(b.Context(), a.Ref); err != nil || len(a.Prefix) != 0 {
		b.Error(err, a)
	}
	boom := errors.New("boom")
	if _, err := blob.AdoptStaged(b.Context(), b.Store, failing{"x", boom}); !errors.Is(err, boom) {
		b.Errorf("got %v", err)
	}
}

// failing is a content that cannot be opened.
type failing struct {
	text
	err error
}

func (f failing) Open(context.Context) (io.ReadCloser, error) { return nil, f.err }
