package imapondisk

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailkeel/mailkeel/imap"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
	"github.com/mailkeel/mailkeel/store/sqlstore"
)

// stagedBlobs counts how its blobs are made durable, and fails to if told so.
type stagedBlobs struct {
	blob.Store
	commits, waits atomic.Int32
	fail           atomic.Bool
	durable        atomic.Bool
}

type stagedWriter struct {
	blob.Stager
	s *stagedBlobs
}

func (s *stagedBlobs) Create(ctx context.Context) (blob.Writer, error) {
	w, err := s.Store.Create(ctx)
	if err != nil {
		return nil, err
	}
	return stagedWriter{w.(blob.Stager), s}, nil
}

func (w stagedWriter) Commit() (blob.Info, error) {
	w.s.commits.Add(1)
	return w.Stager.Commit()
}

func (w stagedWriter) Wait() error {
	w.s.waits.Add(1)
	if w.s.fail.Load() {
		return errors.New("sync failed")
	}
	err := w.Stager.Wait()
	w.s.durable.Store(err == nil)
	return err
}

// A message becomes durable before its rows are committed and not by itself before,
// and if it does not there are no rows.
func TestAppendWaitsForItsContentBeforeTheCommit(t *testing.T) {
	dir := t.TempDir()
	db, err := sqldb.OpenSQLite(filepath.Join(dir, "db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := sqlstore.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	packs, err := packblob.Open(filepath.Join(dir, "packs"), packblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	blobs := &stagedBlobs{Store: packs}
	s := &imap.Server{InsecureAuth: true, Auth: anyone{}, Store: &store.Store{Backend: rows, Blobs: blobs}}
	p := dial(t, start(t, s))
	p.ok("LOGIN x secret")

	blobs.fail.Store(true)
	if out := p.do("APPEND INBOX {6+}\r\nlost\r\n"); !strings.HasPrefix(out[len(out)-1], "t NO ") {
		t.Error(out)
	}
	blobs.fail.Store(false)
	p.ok("APPEND INBOX {6+}\r\nkept\r\n")
	if !blobs.durable.Load() || blobs.commits.Load() != 0 || blobs.waits.Load() < 2 {
		t.Errorf("%d commits, %d waits", blobs.commits.Load(), blobs.waits.Load())
	}
	if out := strings.Join(p.ok("STATUS INBOX (MESSAGES)"), "\n"); !strings.Contains(out, "(MESSAGES 1)") {
		t.Error(out)
	}
	_, rc, err := s.Store.As("a1").Open(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if b, err := io.ReadAll(rc); string(b) != "kept\r\n" {
		t.Errorf("%q, %v", b, err)
	}
}
