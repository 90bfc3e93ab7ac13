package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mailkeel/mailkeel/internal/vfs"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/fileblob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

const (
	packsDir   = "packs"
	filesDir   = "blobs"   // of layout 1
	damagedDir = "damaged" // what of it could not be taken over
)

// openBlobs opens the packs, and brings a directory of layout 1 to this one. The order
// is: all contents durable in packs, then VERSION, then the files go; so after a crash
// at any point the next start goes on.
func openBlobs(ctx context.Context, dir string, o Options) (s *packblob.Store, err error) {
	found, err := readVersion(o.fs, dir)
	if err != nil {
		return nil, err
	}
	old := filepath.Join(dir, filesDir)
	_, err = o.fs.Stat(old)
	left := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	packs := filepath.Join(dir, packsDir)
	if _, err := o.fs.Stat(packs); found == version && !left && errors.Is(err, fs.ErrNotExist) {
		// Empty packs beside the rows would hide a mistake, and be in the way of the old ones.
		return nil, &DamageError{dir, packsDir, errors.New("it is not there, and holds all contents")}
	}
	o.packs.FS, o.packs.Clock, o.packs.Logger = o.fs, o.Clock, o.Logger
	o.packs.Compress = o.packs.Compress || o.Compress
	s, err = packblob.Open(packs, o.packs)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.Close()
			s = nil
		}
	}()
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if left { // whatever VERSION says: it may be lost or wrong, and what is in packs already is only looked up
		t := &takeover{fs: o.fs, dir: dir, to: s, log: log}
		if err := t.run(ctx); err != nil {
			return s, fmt.Errorf("embedded: the contents in %s were not all taken over, and the next start goes on: %w", old, err)
		}
	}
	if found != version {
		if err := write(o.fs, dir, versionFile, []byte(version+"\n")); err != nil {
			return s, err
		}
	}
	if left {
		if err := removeFiles(o.fs, old); err != nil { // it holds nothing that is needed
			log.Warn("embedded: the files of the former layout were not all removed; the next start tries again", "err", err)
		}
	}
	return s, nil
}

// takeover copies the contents of layout 1, a file each, into packs.
type takeover struct {
	fs  vfs.FS
	dir string
	to  *packblob.Store
	log *slog.Logger

	seen, damaged int
	bytes         int64
	wait          []blob.Stager // staged, and not waited for
	waiting       int64         // bytes of them
}

const (
	takeBytes = 1 << 20 // staged at a time
	takeNews  = 10_000  // contents between two lines of log
)

func (t *takeover) run(ctx context.Context) error {
	files, err := fileblob.Open(filepath.Join(t.dir, filesDir), fileblob.Options{FS: t.fs})
	if err != nil {
		return err
	}
	defer files.Close()
	t.log.Info("embedded: contents move from files into packs, once; this may take a while")
	defer t.settle() // what is staged belongs to us
	for info, err := range files.List(ctx) {
		if err == nil {
			err = t.take(ctx, files, info, false)
		}
		if err != nil {
			return err
		}
		t.seen++
		t.bytes += info.Size
		if t.seen%takeNews == 0 {
			t.log.Info("embedded: contents move into packs", "contents", t.seen, "bytes", t.bytes)
		}
	}
	if err := t.settle(); err != nil {
		return err
	}
	t.log.Info("embedded: contents are in packs", "contents", t.seen, "bytes", t.bytes, "damaged", t.damaged)
	return nil
}

// take copies one, unless an earlier try did.
func (t *takeover) take(ctx context.Context, from *fileblob.Store, info blob.Info, again bool) error {
	if err := t.to.Touch(ctx, info.Ref); !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrUnreadable) {
		return err
	}
	r, err := from.Open(ctx, info.Ref, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := t.to.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	bad := &readErr{Reader: r}
	if _, err := io.Copy(w, bad); err != nil {
		if !errors.Is(bad.err, syscall.EIO) {
			return err
		}
		if !again { // it may have been for once
			return t.take(ctx, from, info, true)
		}
		return t.park(info.Ref)
	}
	staged := w.(blob.Stager)
	got, err := staged.Stage()
	if err != nil {
		return err
	}
	t.wait = append(t.wait, staged)
	if t.waiting += got.Size; t.waiting >= takeBytes {
		if err := t.settle(); err != nil {
			return err
		}
	}
	if got.Ref != info.Ref { // the copy goes with the next sweep
		return t.park(info.Ref)
	}
	return nil
}

// readErr tells an error of reading from one of writing.
type readErr struct {
	io.Reader
	err error
}

func (r *readErr) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.err = err
	return n, err
}

// settle waits until what is staged is durable.
func (t *takeover) settle() (err error) {
	for _, w := range t.wait {
		err = errors.Join(err, w.Wait())
	}
	t.wait, t.waiting = nil, 0
	return err
}

// park keeps a copy of a file that does not hold what its name says, for people to
// look at. What cannot be read of it is zeros there.
func (t *takeover) park(ref blob.Ref) (err error) {
	t.damaged++
	name := string(ref)[len("sha256-"):]
	dir := filepath.Join(t.dir, damagedDir)
	path := filepath.Join(dir, name)
	t.log.Error("embedded: a damaged content is set aside", "blob", ref, "file", path)
	if err := vfs.MkdirDurably(t.fs, dir, 0o700); err != nil {
		return err
	}
	original := filepath.Join(t.dir, filesDir, name[:2], name)
	fi, err := t.fs.Stat(original)
	if err != nil {
		return err
	}
	from, err := t.fs.OpenFile(original, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := t.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for off := int64(0); off < fi.Size() && err == nil; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), fi.Size()-off)]
		if _, err = from.ReadAt(part, off); errors.Is(err, syscall.EIO) {
			clear(part)
		} else if err != nil && err != io.EOF {
			break
		}
		_, err = to.WriteAt(part, off)
	}
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return t.fs.SyncDir(dir)
}

// removeFiles removes a folder and what is in it.
func removeFiles(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = removeFiles(fsys, name)
		} else {
			err = fsys.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
