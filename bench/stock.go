package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/mailkeel/mailkeel"
	"github.com/mailkeel/mailkeel/accounts"
	"github.com/mailkeel/mailkeel/server/embedded"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
)

// A large directory is that of readers, one of whom has a tenth of the mail in one
// mailbox.
const (
	readers     = 10
	readerPass  = "correct horse battery staple"
	stockBatch  = 500
	stockAtOnce = 4
)

// build fills the large directory through the parts of the server, with small
// messages that all differ: what a start costs depends on how many there are.
func (o *options) build(ctx context.Context) (err error) {
	if o.stock != "" {
		return nil
	}
	dir := filepath.Join(o.dir, "stock")
	begin := time.Now()
	home, err := embedded.Open(ctx, dir, embedded.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	if err := home.Accounts.PutDomain(ctx, accounts.Domain{Name: "example.test"}); err != nil {
		return err
	}
	s := &store.Store{Backend: home.Store, Blobs: home.Blobs, Limit: home.Accounts.Limit}
	each := o.stored / readers
	errs := make([]error, readers)
	slots := make(chan struct{}, stockAtOnce)
	var all sync.WaitGroup
	for r := range readers {
		a, err := home.Accounts.CreateAccount(ctx, accounts.Account{Address: reader(r)}, readerPass)
		if err != nil {
			return err
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[r] = fill(ctx, s, a.ID, r*each, each)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("storing %d messages: %w", o.stored, err)
	}
	o.stock = dir
	fmt.Fprintf(o.log, "%s messages stored in %v\n", thousands(each*readers), time.Since(begin).Round(time.Millisecond))
	return nil
}

func reader(n int) string { return fmt.Sprintf("reader%d@example.test", n) }

// small is message n, of some 300 bytes.
func small(n int) string {
	return fmt.Sprintf("From: Ann <ann%d@example.org>\r\nTo: reader@example.test\r\nSubject: Letter %d\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\n"+
		"Message-ID: <%d@example.org>\r\n\r\nThis is letter %d, and it says no more than that it is there.\r\n", n%997, n, n, n)
}

// fill puts n messages into an INBOX, from number first on.
func fill(ctx context.Context, s *store.Store, id mailkeel.AccountID, first, n int) error {
	access := s.As(id)
	box, err := access.Folder(ctx, "INBOX")
	if err != nil {
		return err
	}
	for done := 0; done < n; {
		batch := min(stockBatch, n-done)
		ms := make([]store.Append, batch)
		writers := make([]blob.Writer, batch)
		for i := range ms {
			if writers[i], err = s.Blobs.Create(ctx); err != nil {
				return err
			}
			if _, err := writers[i].Write([]byte(small(first + done + i))); err != nil {
				return err
			}
			if st, ok := writers[i].(blob.Stager); ok {
				ms[i].Blob, err = st.Stage()
			} else {
				ms[i].Blob, err = writers[i].Commit()
			}
			if err != nil {
				return err
			}
			if (done+i)%3 == 0 {
				ms[i].Flags = []string{store.FlagSeen}
			}
		}
		for _, w := range writers {
			if st, ok := w.(blob.Stager); ok {
				err = st.Wait()
			}
			if err := errors.Join(err, w.Close()); err != nil {
				return err
			}
		}
		if _, err := access.Append(ctx, box.ID, ms...); err != nil {
			return err
		}
		done += batch
	}
	return nil
}
