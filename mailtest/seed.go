package mailtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mailkeel/mailkeel/internal/mailfiles"
	"github.com/mailkeel/mailkeel/store"
)

// SaveEnv is the environment variable that names a folder: a test that fails saves
// there, below its name, what its servers held. See Save.
const SaveEnv = "MAILTEST_SAVE"

// Seed files the messages below fsys for an account, as if they had been there
// before: .eml files, mbox files and Maildirs. The folders in which they are become
// mailboxes; what lies at the top goes into mailbox. A folder whose name is an address
// is that account's, and so is what Save wrote; account may then be empty. It returns
// how many there were. They count as messages that came.
func (s *Server) Seed(account, mailbox string, fsys fs.FS) int {
	s.tb.Helper()
	n := 0
	for it, err := range mailfiles.Read(fsys) {
		if err == nil && it.Mailbox == "left" && it.Account == "" && it.To != nil {
			continue // it was sent away
		}
		if err == nil {
			err = s.file(cmp.Or(it.Account, account), cmp.Or(it.Mailbox, mailbox, "INBOX"), it)
		}
		if err != nil {
			s.tb.Fatalf("mailtest: seed: %v", err)
		}
		n++
	}
	return n
}

// Put files one message for an account, with LF or CRLF, as if it had been there
// before.
func (s *Server) Put(account, mailbox, raw string, flags ...string) {
	s.tb.Helper()
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, "\r\n", "\n"), "\n", "\r\n")
	if err := s.file(account, mailbox, mailfiles.Item{Flags: flags, Raw: []byte(raw)}); err != nil {
		s.tb.Fatalf("mailtest: %v", err)
	}
}

func (s *Server) file(account, mailbox string, it mailfiles.Item) error {
	res, err := s.users.Resolve(s.ctx, account)
	if err == nil && (len(res.Targets) != 1 || res.Targets[0].Account == "") {
		err = errors.New("is no account")
	}
	if err != nil {
		return fmt.Errorf("%q: %w", account, err)
	}
	a := s.Store.As(res.Targets[0].Account)
	f, err := a.Folder(s.ctx, mailbox)
	if errors.Is(err, store.ErrNotFound) {
		if _, err = a.Create(s.ctx, mailbox, ""); err == nil {
			f, err = a.Folder(s.ctx, mailbox)
		}
	}
	if err != nil {
		return fmt.Errorf("mailbox %q: %w", mailbox, err)
	}
	w, err := s.Store.Blobs.Create(s.ctx)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, bytes.NewReader(it.Raw)); err != nil {
		return err
	}
	info, err := w.Commit()
	if err != nil {
		return err
	}
	_, err = a.Append(s.ctx, f.ID, store.Append{Blob: info, Flags: it.Flags, Received: it.Received})
	return err
}

// Save writes all messages that came so far below dir: each as .eml, with its
// mailbox, flags and envelope beside it as .json, and each session as .txt. A server
// opens it: postoffice -import DIR; and so does Seed.
func (s *Server) Save(dir string) error {
	var items []mailfiles.Item
	for _, m := range s.Messages(Any()) {
		it := mailfiles.Item{Account: m.Account, Mailbox: m.Mailbox, Flags: m.Flags, Received: m.Received, From: m.From, To: m.To, Raw: m.Raw}
		if m.Account == "" {
			it.Mailbox = "left"
		}
		items = append(items, it)
	}
	if err := mailfiles.Write(dir, items); err != nil {
		return err
	}
	for i, x := range s.Sessions() {
		name := filepath.Join(dir, fmt.Sprintf("session-%03d-%s.txt", i+1, x.Door))
		if err := os.WriteFile(name, []byte(x.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// saveFailure is for the end of a test.
func (s *Server) saveFailure() {
	root := os.Getenv(SaveEnv)
	if root == "" || !s.tb.Failed() {
		return
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, s.tb.Name())
	dir := filepath.Join(root, fmt.Sprintf("%s-%s-%d", name, s.opts.Hostname, time.Now().UnixNano()))
	if err := s.Save(dir); err != nil {
		s.tb.Logf("mailtest: could not save what the server held: %v", err)
		return
	}
	s.tb.Logf("mailtest: what the server held is in %s; postoffice -import opens it", dir)
}
