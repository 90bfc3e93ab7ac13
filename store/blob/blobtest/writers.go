package blobtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel/store/blob"
)

// testReopenSweep asks for no more than is promised: a crash may make blobs young
// again, and bring back what nothing names.
func testReopenSweep(b *bench) {
	if b.o.Reopen == nil {
		b.Skip("no Reopen")
	}
	held, old, gone := b.put("held").Ref, b.put("old").Ref, b.put("gone").Ref
	if n, err := b.DeleteOlder(b.Context(), b.clock.Now().Add(time.Second), gone); n != 1 || err != nil {
		b.Fatalf("DeleteOlder = %d, %v", n, err)
	}
	b.clock.Advance(2 * grace)
	b.Store = b.o.Reopen(b.T, b.Store, b.clock)
	young := b.put("young").Ref
	h := &heldRefs{}
	h.hold(held)
	if b.sweep(h); !b.there(held) || !b.there(young) {
		b.Error("swept what is held or young after reopening")
	}
	b.clock.Advance(2 * grace)
	b.sweep(h)
	for info, err := range b.List(b.Context()) {
		b.must(err)
		if info.Ref != held {
			b.Errorf("left %+v", info)
		}
	}
	if b.there(old) || b.there(gone) || b.read(held, 0, -1) != "held" {
		b.Error("what is there is wrong")
	}
}

func testLarge(b *bench) {
	rnd := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(rnd.Uint32() >> 24)
	}
	w, err := b.Create(b.Context())
	b.must(err)
	defer w.Close()
	for rest := data; len(rest) > 0; {
		n := min(len(rest), rnd.IntN(100_000))
		k, err := w.Write(rest[:n])
		if b.must(err); k != n {
			b.Fatalf("wrote %d of %d bytes", k, n)
		}
		rest = rest[n:]
	}
	info, err := w.Commit()
	b.must(err)
	if sum := fmt.Sprintf("sha256-%x", sha256.Sum256(data)); string(info.Ref) != sum || info.Size != int64(len(data)) {
		b.Errorf("Commit returned %+v, want %s", info, sum)
	}
	for range 20 {
		off := rnd.IntN(len(data))
		n := rnd.IntN(len(data) - off)
		rc, err := b.Open(b.Context(), info.Ref, int64(off), int64(n))
		b.must(err)
		got, err := io.ReadAll(rc)
		b.must(errors.Join(err, rc.Close()))
		if !bytes.Equal(got, data[off:off+n]) {
			b.Errorf("%d bytes from %d differ", n, off)
		}
	}
}

func testWriterEnds(b *bench) {
	w, err := b.Create(b.Context())
	b.must(err)
	_, err = io.WriteString(w, "once")
	b.must(err)
	_, err = w.Commit()
	b.must(err)
	if _, err := w.Commit(); err == nil {
		b.Error("a second Commit worked")
	}
	if _, err := w.Write([]byte("more")); err == nil {
		b.Error("a Write after Commit worked")
	}
	b.must(w.Close())
	if got := b.read(ref("once"), 0, -1); got != "once" {
		b.Errorf("read %q", got)
	}
}

func testAbandoned(b *bench) {
	kept := b.put("kept").Ref
	for i := range 10 {
		w, err := b.Create(b.Context())
		b.must(err)
		_, err = w.Write(bytes.Repeat([]byte{byte(i)}, i*100_000))
		b.must(err)
		b.must(w.Close())
		_ = w.Close() // again does no harm
	}
	for info, err := range b.List(b.Context()) {
		b.must(err)
		if info.Ref != kept {
			b.Errorf("left %+v", info)
		}
	}
}

func testForeign(b *bench) {
	b.put("x")
	good := string(ref("y"))
	for _, bad := range []blob.Ref{
		"", "sha256-", "sha256", "../../etc/passwd", "sha256-../../../../etc/passwd", "/etc/passwd", "sha256-00", "a\x00b",
		blob.Ref(good[:len(good)-1]), blob.Ref(good + "0"), blob.Ref("sha512" + good[6:]), blob.Ref("SHA256" + good[6:]), blob.Ref(good[:len(good)-1] + "G"),
	} {
		_, openErr := b.Open(b.Context(), bad, 0, -1)
		_, statErr := b.Stat(b.Context(), bad)
		for _, err := range []error{openErr, statErr, b.Touch(b.Context(), bad)} {
			if !errors.Is(err, blob.ErrNotFound) {
				b.Errorf("%q: %v, want ErrNotFound", bad, err)
			}
		}
		if n, err := b.DeleteOlder(b.Context(), b.clock.Now().Add(time.Hour), bad); n != 0 || err != nil && !errors.Is(err, blob.ErrNotFound) {
			b.Errorf("DeleteOlder of %q = %d, %v", bad, n, err)
		}
	}
}

// testConcurrent uses few blobs from many goroutines in every way. What was
// committed or touched within the grace must be there.
func testConcurrent(b *bench) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 60 {
				text := fmt.Sprint("blob ", rnd.IntN(5))
				var err error
				switch rnd.IntN(6) {
				case 0, 1:
					_, err = b.tryPut(text)
					if err == nil { // nobody may have taken it since: it is young
						if _, err := b.Stat(b.Context(), ref(text)); err != nil {
							b.Error(err)
						}
					}
				case 2:
					err = b.Touch(b.Context(), ref(text))
				case 3:
					_, err = b.DeleteOlder(b.Context(), b.clock.Now().Add(-grace), ref(text))
				case 4:
					var rc io.ReadCloser
					if rc, err = b.Open(b.Context(), ref(text), 0, -1); err == nil {
						got, readErr := io.ReadAll(rc)
						if err = errors.Join(readErr, rc.Close()); err == nil && string(got) != text {
							b.Errorf("read %q, want %q", got, text)
						}
					}
				case 5:
					for _, err = range b.List(b.Context()) {
						if err != nil {
							break
						}
					}
				}
				if err != nil && !errors.Is(err, blob.ErrNotFound) {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
