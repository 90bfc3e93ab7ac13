// Package mailfiles reads mail out of folders as people have them: single messages
// (.eml), mbox files, Maildirs, and the folders that Write makes, which keep what a
// server knows of each message beside it.
package mailfiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// An Item is one message with what is known of it.
type Item struct {
	// Path is where it was found, or is to be written: slashes, no extension.
	Path string `json:"-"`
	// Account is the address whose mail it is, if the folders say so: the
	// name of the uppermost folder, if it has an "@".
	Account string `json:"account,omitempty"`
	// Mailbox is the folder below that; INBOX at the top of an account, else "".
	Mailbox  string    `json:"mailbox,omitempty"`
	Flags    []string  `json:"flags,omitempty"`
	Received time.Time `json:"received,omitzero"`
	From     string    `json:"from,omitempty"` // the reverse-path, if it is known
	To       []string  `json:"to,omitempty"`   // likewise
	Raw      []byte    `json:"-"`              // with CRLF
}

// maxFile is how large a file may be: tests keep mail in memory.
const maxFile = 256 << 20

// Read yields all messages below fsys, in the order of their paths.
func Read(fsys fs.FS) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		stop := errors.New("stop")
		send := func(it Item) error {
			it.place()
			if !yield(it, nil) {
				return stop
			}
			return nil
		}
		err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if d.Name() == "tmp" && isMaildir(fsys, path.Dir(p)) {
					return fs.SkipDir
				}
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return nil
			}
			if info.Size() > maxFile {
				return fmt.Errorf("mailfiles: %s has %d bytes, and %d is the most", p, info.Size(), maxFile)
			}
			return file(fsys, p, info.ModTime(), send)
		})
		if err != nil && !errors.Is(err, stop) {
			yield(Item{}, err)
		}
	}
}

func isMaildir(fsys fs.FS, dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := fs.Stat(fsys, path.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// file reads one file, if it holds mail.
func file(fsys fs.FS, p string, at time.Time, send func(Item) error) error {
	dir, name := path.Split(p)
	box := path.Base(path.Clean(dir))
	switch ext := strings.ToLower(path.Ext(name)); {
	case (box == "cur" || box == "new") && isMaildir(fsys, path.Dir(path.Clean(dir))):
		raw, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		base, info, _ := strings.Cut(name, ":2,")
		return send(Item{Path: path.Join(path.Dir(path.Clean(dir)), base), Flags: maildirFlags(info), Received: at, Raw: crlf(raw)})
	case ext == ".eml":
		raw, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		it := Item{Path: strings.TrimSuffix(p, path.Ext(p)), Received: at}
		beside, err := fs.ReadFile(fsys, it.Path+".json")
		if err == nil {
			if err := json.Unmarshal(beside, &it); err != nil {
				return fmt.Errorf("mailfiles: %s.json: %w", it.Path, err)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		it.Raw = crlf(raw)
		return send(it)
	case ext == ".mbox" || ext == "":
		raw, err := fs.ReadFile(fsys, p)
		if err != nil || ext == "" && !bytes.HasPrefix(raw, []byte("From ")) {
			return err
		}
		return mbox(strings.TrimSuffix(p, path.Ext(p)), raw, send)
	}
	return nil
}

// place finds account and mailbox in the path.
func (it *Item) place() {
	if it.Account != "" || it.Mailbox != "" {
		return
	}
	words := strings.Split(path.Dir(it.Path), "/")
	if words[0] == "." {
		words = nil
	}
	if len(words) > 0 && strings.Contains(words[0], "@") {
		it.Account, words = words[0], words[1:]
	}
	for i, w := range words { // a Maildir keeps a/b in ".a.b"
		if rest, ok := strings.CutPrefix(w, "."); ok {
			words[i] = strings.ReplaceAll(rest, ".", "/")
		}
	}
	if it.Mailbox = strings.Join(words, "/"); it.Mailbox == "" && it.Account != "" {
		it.Mailbox = "INBOX"
	}
}

// maildirFlags are those in the name of a file.
func maildirFlags(info string) (flags []string) {
	for _, f := range []struct{ letter, flag string }{{"S", `\Seen`}, {"R", `\Answered`}, {"F", `\Flagged`}, {"T", `\Deleted`}, {"D", `\Draft`}} {
		if strings.Contains(info, f.letter) {
			flags = append(flags, f.flag)
		}
	}
	return flags
}

// mbox takes an mbox file apart (RFC 4155), in the form in which ">From " lines have
// one ">" more than they should.
func mbox(p string, raw []byte, send func(Item) error) error {
	n := 0
	var it *Item
	var text bytes.Buffer
	end := func() error {
		if it == nil {
			return nil
		}
		raw := text.Bytes()
		if bytes.HasSuffix(raw, []byte("\n\n")) {
			raw = raw[:len(raw)-1] // the blank line before the next
		}
		it.Raw = crlf(raw)
		text = bytes.Buffer{}
		return send(*it)
	}
	blank := true
	for line := range bytes.Lines(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))) {
		if blank && separates(line) {
			if err := end(); err != nil {
				return err
			}
			n++
			it = &Item{Path: fmt.Sprintf("%s/%05d", p, n)}
			from, date, _ := strings.Cut(strings.TrimSpace(string(line[5:])), " ")
			if from != "MAILER-DAEMON" {
				it.From = from
			}
			if t, err := time.Parse(time.ANSIC, strings.TrimSpace(date)); err == nil {
				it.Received = t
			}
			blank = false
			continue
		}
		blank = len(line) == 1
		if rest := bytes.TrimLeft(line, ">"); len(rest) < len(line) && bytes.HasPrefix(rest, []byte("From ")) {
			line = line[1:]
		}
		if it != nil {
			text.Write(line)
		}
	}
	return end()
}

// separates reports whether a line begins a message: "From ", an address and a date.
// Programs forget to change lines of text that begin with "From ".
func separates(line []byte) bool {
	rest, ok := strings.CutPrefix(string(line), "From ")
	from, date, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if _, err := time.Parse(time.ANSIC, strings.TrimSpace(date)); err == nil {
		return ok
	}
	return ok && (strings.Contains(from, "@") || from == "MAILER-DAEMON" || from == "-")
}

// crlf ends each line with CRLF.
func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// Write writes items below dir, which it makes: each as a file .eml with what is
// known of it beside it as .json, in a folder for its mailbox in one for its
// account.
func Write(dir string, items []Item) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	count := map[string]int{}
	for _, it := range items {
		folder := filepath.Join(name(it.Account), name(it.Mailbox))
		count[folder]++
		base := filepath.Join(folder, fmt.Sprintf("%05d", count[folder]))
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		beside, err := json.MarshalIndent(it, "", "\t")
		if err != nil {
			return err
		}
		if err := root.WriteFile(base+".eml", it.Raw, 0o600); err != nil {
			return err
		}
		if err := root.WriteFile(base+".json", append(beside, '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// name makes a name fit for a folder. The true one stands in the .json.
func name(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, s)
	if s == "" || strings.Trim(s, ".") == "" {
		return "_"
	}
	return s[:min(len(s), 200)]
}
