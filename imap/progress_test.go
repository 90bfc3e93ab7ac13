package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/internal/testclock"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/memblob"
	"github.com/mailkeel/mailkeel/store/memstore"
)

// touchyBlobs take long to be touched, which is the first that COPY does.
type touchyBlobs struct {
	*memblob.Store
	touched chan struct{}
	goOn    chan error
}

func (s *touchyBlobs) Touch(ctx context.Context, refs ...blob.Ref) error {
	s.touched <- struct{}{}
	return errors.Join(<-s.goOn, s.Store.Touch(ctx, refs...))
}

// A timingClock tells of timers for news of progress.
type timingClock struct {
	testclock.Clock
	timers chan struct{}
}

func (c *timingClock) NewTimer(d time.Duration) mailkeel.Timer {
	t := c.Clock.NewTimer(d)
	if d == progressNews {
		c.timers <- struct{}{}
	}
	return t
}

// TestALongCopyIsHeardOf: a client hears that COPY and MOVE of many messages go on (RFC
// 9585), and of few nothing.
func TestALongCopyIsHeardOf(t *testing.T) {
	clock := &timingClock{timers: make(chan struct{}, 10)}
	blobs := &touchyBlobs{&memblob.Store{}, make(chan struct{}), make(chan error)}
	st := &store.Store{Backend: new(memstore.Backend), Blobs: blobs, Clock: clock}
	p := dial(t, start(t, &Server{InsecureAuth: true, Auth: anyone{}, Store: st, Clock: clock}))
	p.ok("LOGIN ann secret")
	p.ok("CREATE box")
	w, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "Subject: x\r\n\r\nx\r\n")
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	f, err := st.As("a1").Folder(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]store.Append, manyMoved)
	for i := range ms {
		ms[i].Blob = info
	}
	if _, err := st.As("a1").Append(t.Context(), f.ID, ms...); err != nil {
		t.Fatal(err)
	}
	p.ok("SELECT INBOX")
	for _, fails := range []error{nil, errors.New("no")} {
		p.send("t COPY 1:* box")
		<-blobs.touched
		for range 3 {
			<-clock.timers
			clock.Advance(progressNews)
			if got, want := p.line(), `* OK [INPROGRESS ("t" NIL NIL)] Still at it`; got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		<-clock.timers
		blobs.goOn <- fails
		lines := p.until("t ")
		if last := lines[len(lines)-1]; strings.HasPrefix(last, "t OK [COPYUID") == (fails != nil) {
			t.Errorf("%q after %v", last, fails)
		}
	}
	p.send("t COPY 2:%d box", manyMoved)
	<-blobs.touched
	clock.Advance(10 * progressNews)
	blobs.goOn <- nil
	if lines := p.until("t "); len(lines) != 1 || len(clock.timers) > 0 {
		t.Errorf("%q", lines)
	}
}
