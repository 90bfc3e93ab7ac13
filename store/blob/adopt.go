package blob

import (
	"context"
	"errors"
	"io"
)

// Content is mailkeel.Content, repeated here to keep this package at the bottom.
type Content interface {
	Open(ctx context.Context) (io.ReadCloser, error)
	Size() int64
}

// Stored may be implemented by the Content of a message that lies in a Store. A
// receiver with the same Store can then name the blob instead of copying it.
type Stored interface {
	// Stored returns where the blob lies and what stands before it. A nil
	// Store means that it lies nowhere.
	Stored() (s Store, info Info, prefix []byte)
}

// Staged may be implemented by a Stored content that was written to a Store and need
// not be durable yet, so that its receiver can wait for it together with others. To
// whom does not know of it, Stored gives a blob that is durable.
type Staged interface {
	Stored
	// Stage names the blob if it lies in s, and else reports false. Several
	// receivers may call it, one after the other.
	Stage(s Store) (a Adopted, ok bool, err error)
}

// Adopted is a blob that has the bytes of a Content behind Prefix.
type Adopted struct {
	Info
	Prefix []byte
	// Wait is nil if the blob is durable. Otherwise rows that name it may be
	// written, and are committed only after Wait returned nil. It may be called
	// more than once, from other goroutines, and says the same each time.
	Wait func() error
	// Open reads the blob, without Prefix, also if it is not visible yet. It is
	// valid as long as the Content is.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Adopt returns a young blob of s with the bytes of c. It touches c's blob if
// that lies in s, and then prefix is what stands before the blob; otherwise, and
// if the blob has gone, it copies.
func Adopt(ctx context.Context, s Store, c Content) (info Info, prefix []byte, err error) {
	a, err := AdoptStaged(ctx, s, c)
	if err == nil && a.Wait != nil {
		err = a.Wait()
	}
	if err != nil {
		return Info{}, nil, err
	}
	return a.Info, a.Prefix, nil
}

// AdoptStaged is Adopt without waiting: see Adopted.Wait.
func AdoptStaged(ctx context.Context, s Store, c Content) (Adopted, error) {
	if st, ok := c.(Staged); ok {
		if a, ok, err := st.Stage(s); ok || err != nil {
			return a, err
		}
	} else if st, ok := c.(Stored); ok {
		if from, info, prefix := st.Stored(); from == s {
			if err := s.Touch(ctx, info.Ref); err == nil || !errors.Is(err, ErrNotFound) {
				return Adopted{info, prefix, nil, opener(s, info)}, err
			}
		}
	}
	r, err := c.Open(ctx)
	if err != nil {
		return Adopted{}, err
	}
	defer r.Close()
	w, err := s.Create(ctx)
	if err != nil {
		return Adopted{}, err
	}
	defer w.Close()
	if n, err := io.Copy(w, r); err != nil {
		return Adopted{}, err
	} else if n != c.Size() {
		return Adopted{}, io.ErrUnexpectedEOF // half a message is never stored
	}
	if st, ok := w.(Stager); ok {
		info, err := st.Stage()
		return Adopted{info, nil, st.Wait, c.Open}, err
	}
	info, err := w.Commit()
	return Adopted{info, nil, nil, opener(s, info)}, err
}

// opener reads a blob that is in s.
func opener(s Store, info Info) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) { return s.Open(ctx, info.Ref, 0, -1) }
}
