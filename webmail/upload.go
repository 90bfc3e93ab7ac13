package webmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"

	"github.com/mailkeel/mailkeel/internal/mailview"
)

const (
	maxParts = 500 // of one form
	// inMemory is how much of the files of one form is not written to temporary files.
	inMemory = 256 << 10
	// maxWaste is how much of a form that is too large is read, so that the person gets
	// a page and not a broken connection.
	maxWaste = 256 << 20
	// uploadsEach is how many forms with files one account may send at once.
	uploadsEach = 4
)

// uploads are the files of a form. They end with the request.
type uploads struct {
	files []mailview.Upload
	// tooLarge says that there was more than there may be. Then there are no files, but
	// all fields.
	tooLarge bool

	temp   []string
	memory int
}

func (u *uploads) remove() {
	for _, name := range u.temp {
		os.Remove(name)
	}
	u.temp, u.files = nil, nil
}

// readParts reads a form with files. What is typed is never lost for the size of a file:
// the fields are read to the end.
func readParts(mr *multipart.Reader, most int64) (form url.Values, u *uploads, err error) {
	form, u = url.Values{}, &uploads{}
	typed, room := int64(maxForm), most
	for n := 0; ; n++ {
		p, err := mr.NextPart()
		if err == io.EOF {
			return form, u, nil
		}
		if err != nil {
			return form, u, err
		}
		if n >= maxParts {
			return form, u, status(http.StatusRequestEntityTooLarge)
		}
		_, params, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if _, isFile := params["filename"]; !isFile {
			b, err := io.ReadAll(io.LimitReader(p, typed+1))
			if err != nil {
				return form, u, err
			}
			if typed -= int64(len(b)); typed < 0 {
				return form, u, status(http.StatusRequestEntityTooLarge)
			}
			form.Add(p.FormName(), string(b))
			continue
		}
		if p.FormName() != "files" || u.tooLarge {
			continue // NextPart passes it over
		}
		if err := u.add(p, &room); err != nil {
			return form, u, err
		}
	}
}

// add keeps one file, if there is room for it.
func (u *uploads) add(p *multipart.Part, room *int64) error {
	head := make([]byte, max(0, min(inMemory-u.memory, 64<<10))+1)
	n, err := io.ReadFull(p, head)
	head = head[:n]
	whole := err == io.EOF || err == io.ErrUnexpectedEOF
	if err != nil && !whole {
		return err
	}
	if whole && n == 0 && p.FileName() == "" { // none was chosen
		return nil
	}
	f := mailview.Upload{Name: oneLine(p.FileName()), Type: oneLine(p.Header.Get("Content-Type")), Size: int64(n)}
	if whole {
		u.memory += n
		f.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	} else {
		t, err := os.CreateTemp("", "upload-*")
		if err != nil {
			return fmt.Errorf("webmail: cannot keep an upload: %w", err)
		}
		name := t.Name()
		u.temp = append(u.temp, name)
		f.Open = func() (io.ReadCloser, error) { return os.Open(name) }
		f.Size, err = io.Copy(t, io.LimitReader(io.MultiReader(bytes.NewReader(head), p), *room+1))
		if err := errors.Join(err, t.Close()); err != nil {
			return err
		}
	}
	*room -= f.Size
	if *room < 0 || len(u.files) >= maxFiles {
		u.remove()
		u.tooLarge = true
		return nil
	}
	u.files = append(u.files, f)
	return nil
}

// formError is what an error of reading a form means.
func formError(err error) error {
	var tooLarge *http.MaxBytesError
	var disk *fs.PathError
	var s status
	switch {
	case err == nil, errors.As(err, &s), errors.As(err, &disk):
		return err
	case errors.As(err, &tooLarge):
		return status(http.StatusRequestEntityTooLarge)
	}
	return status(http.StatusBadRequest)
}
