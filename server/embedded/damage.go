package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store/blob"
	"github.com/mailkeel/mailkeel/store/blob/packblob"
)

// A DamageError says which file cannot be used as it is. It is ErrDamaged.
type DamageError struct {
	Dir, File string
	Err       error // what is wrong
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s: %v", ErrDamaged, filepath.Join(e.Dir, e.File), e.Err)
}

func (e *DamageError) Is(target error) bool { return target == ErrDamaged }
func (e *DamageError) Unwrap() error        { return e.Err }

// Damage looks for damage in the database, page by page, and says what it found.
func (h *Home) Damage(ctx context.Context) ([]string, error) {
	faults, err := h.db.Check(ctx)
	return faults, h.explain(err)
}

// Lost says what the database lost before it was opened, as far as anything shows it;
// empty means nothing. It is said until the next start.
func (h *Home) Lost() string {
	if lost := h.db.Lost(); lost != nil {
		return lost.String()
	}
	return ""
}

// Reindex makes the indexes of the database again, which is all that can be done
// about some of what Damage finds.
func (h *Home) Reindex(ctx context.Context) error { return h.explain(h.db.Reindex(ctx)) }

// Files looks for damage in packs: what is known, or with deep all that there is; then
// progress, if set, is told how many bytes were read.
func (h *Home) Files(ctx context.Context, deep, repair bool, progress func(read int64)) (faults []blob.Fault, err error) {
	var left, repaired []packblob.Damage
	if deep {
		left, repaired, err = h.Blobs.Examine(ctx, repair, progress)
	} else {
		left = h.Blobs.Damaged()
	}
	for _, d := range left {
		f := blob.Fault{Text: d.String()}
		switch d.State {
		case packblob.DamagedBlob:
			f.Ref = d.Ref
		case packblob.DamagedBytes, packblob.DeadDamage, packblob.Stray:
			f.Kept = true
		}
		faults = append(faults, f)
	}
	for _, d := range repaired {
		faults = append(faults, blob.Fault{Text: d.String(), Repaired: true})
	}
	return faults, err
}

// explain names the file that is damaged.
func (h *Home) explain(err error) error {
	damaged := errors.Is(err, sqldb.ErrDamaged) || errors.Is(err, sqldb.ErrSchema) // names of the tables are bytes too
	if damaged && !errors.Is(err, ErrDamaged) {
		return &DamageError{h.Dir, "mail.db", err}
	}
	return err
}

// Hint is the Hint of an error of the parts of h.
func (h *Home) Hint(err error) string { return Hint(h.explain(err)) }

// Restore is the Hint for damage to the database of h.
func (h *Home) Restore() string { return Hint(&DamageError{Dir: h.Dir, File: "mail.db"}) }

// Hint says how to come back from a DamageError, in commands, and nothing about
// other errors.
func Hint(err error) string {
	var e *DamageError
	if !errors.As(err, &e) {
		return ""
	}
	switch e.File {
	case versionFile:
		return fmt.Sprintf("if the directory has packs/ or blobs/, say so again:\n    echo %s > %s", version, filepath.Join(e.Dir, e.File))
	case packsDir:
		return fmt.Sprintf(`what people wrote was there: mount it, or take it from a backup
    cp -a BACKUP/%[3]s %[1]s
  If it is lost for good, begin with an empty one, and let check mark what is missing:
    mkdir -m 700 %[1]s
    postoffice check -repair -dir %[2]s`, filepath.Join(e.Dir, e.File), e.Dir, e.File)
	}
	return fmt.Sprintf(`%[1]s cannot be read as a database. What people wrote lies in packs/ and is not concerned.
  Stop the server, and keep what is there:
    cp -a %[2]s %[2]s.damaged
  With a backup, take its database, and its log if it has one:
    rm -f %[1]s-wal %[1]s-shm && cp BACKUP/%[3]s %[1]s
    cp BACKUP/%[3]s-wal %[1]s-wal
  Without one, take over all rows that can be read:
    sqlite3 %[1]s .recover | sqlite3 %[1]s.new
    rm -f %[1]s-wal %[1]s-shm && mv %[1]s.new %[1]s
  Then let the rows be compared with the contents, and start the server:
    postoffice check -repair -deep -dir %[2]s
  Contents that no row names are removed after some hours; %[2]s.damaged still has them.`, filepath.Join(e.Dir, e.File), e.Dir, e.File)
}
