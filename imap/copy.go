package imap

import (
	"cmp"
	"context"
	"strconv"

	"github.com/mailkeel/mailkeel/store"
)

// copy is COPY and UID COPY (RFC 9051, 6.4.7).
func (c *conn) copy(cmd *command) error {
	code, err := c.transfer(cmd, c.access.Copy)
	cmd.code = code
	return err
}

// transfer reads the arguments of COPY and MOVE and has do carry them out. It
// returns the response code COPYUID, or nothing if there was nothing to do.
func (c *conn) transfer(cmd *command, do func(ctx context.Context, from, to store.MailboxID, uids ...store.UID) ([]store.Moved, error)) (code string, err error) {
	cmd.sp()
	set := cmd.numSet(cmd.uid)
	cmd.sp()
	name := cmd.mailbox()
	if err := cmd.end(); err != nil {
		return "", err
	}
	spans, err := c.sel.resolve(set)
	if err != nil {
		return "", err
	}
	to, err := c.folder(name)
	if err != nil {
		return "", tryCreate(err)
	}
	if len(spans) == 0 {
		return "", nil
	}
	if !cmd.uid {
		// All or none, and a client that hears OK may take its own copy away.
		is, err := c.sel.view.refresh(c.ctx)
		if err != nil {
			return "", err
		}
		for _, r := range c.sel.snap.all(spans) {
			if _, ok := is.find(r.uid); !ok {
				return "", errGone
			}
		}
	}
	var moved []store.Moved
	all := func() (err error) {
		moved, err = do(c.ctx, c.sel.id, to.ID, c.sel.snap.uids(spans)...)
		return err
	}
	if spanLen(spans) < manyMoved {
		err = all()
	} else {
		err = c.meanwhile(cmd, all)
	}
	if err = cmp.Or(err, c.w.lost()); err != nil || len(moved) == 0 {
		return "", err
	}
	var a, b rangeWriter
	for _, m := range moved {
		a.add(m.From)
		b.add(m.To)
	}
	return "COPYUID " + strconv.FormatUint(uint64(to.UIDValidity), 10) + " " + a.String() + " " + b.String(), nil
}

// A rangeWriter writes UIDs in the order in which they are added, runs of them as
// ranges.
type rangeWriter struct {
	buf         []byte
	first, last store.UID
}

func (w *rangeWriter) add(uid store.UID) {
	if w.first > 0 && uid == w.last+1 {
		w.last = uid
		return
	}
	w.end()
	w.first, w.last = uid, uid
}

// addRange adds first up to and with last; none if that is less.
func (w *rangeWriter) addRange(first, last store.UID) {
	if first > last {
		return
	}
	w.add(first)
	w.last = last
}

func (w *rangeWriter) end() {
	if w.first == 0 {
		return
	}
	if len(w.buf) > 0 {
		w.buf = append(w.buf, ',')
	}
	w.buf = strconv.AppendUint(w.buf, uint64(w.first), 10)
	if w.last > w.first {
		w.buf = strconv.AppendUint(append(w.buf, ':'), uint64(w.last), 10)
	}
	w.first = 0
}

func (w *rangeWriter) String() string {
	w.end()
	return string(w.buf)
}
