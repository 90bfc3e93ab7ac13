package store

import "github.com/mailkeel/mailkeel"

// filingBatch is how many messages with their cold rows are in memory at a time.
const filingBatch = 256

// A filing puts new messages into one mailbox of a locked account.
type filing struct {
	w     *work
	dst   *workBox
	limit mailkeel.Quota
	rows  []Message
	cold  []Cold
	keys  [][]ThreadKey

	placed []Placed // what was put, in the order of add
}

// add takes a message that has Flags, Received, Blob, Size and perhaps a Thread;
// without one it joins that of keys. It is put now or later. ErrOverQuota and
// ErrLimit leave the filing as it was.
func (f *filing) add(m Message, c Cold, keys []ThreadKey) (_ UID, err error) {
	w, dst := f.w, f.dst
	if err := w.room(dst.Account, f.limit, m.Size); err != nil {
		return 0, err
	}
	if m.Flags, err = w.spell(dst, m.Flags); err != nil {
		return 0, err
	}
	if m.UID, err = dst.nextUID(); err != nil {
		return 0, err
	}
	seq := w.seq(dst)
	m.ID, m.Account, m.Mailbox = 0, dst.Account, dst.ID
	m.Created, m.Added, m.ModSeq = seq, seq, seq
	if m.Saved = w.now; m.Received.IsZero() {
		m.Received = w.now
	}
	c.Account, c.ID = dst.Account, 0
	w.add(dst, &m, 1)
	f.rows, f.cold, f.keys = append(f.rows, m), append(f.cold, c), append(f.keys, keys)
	if len(f.rows) >= filingBatch {
		err = f.put()
	}
	return m.UID, err
}

// put writes what was added and is not written yet.
func (f *filing) put() error {
	if len(f.rows) == 0 {
		return nil
	}
	var ask []ThreadKey
	for _, keys := range f.keys {
		ask = append(ask, keys...)
	}
	if ask == nil {
		if err := f.w.PutMessages(f.rows); err != nil {
			return err
		}
	} else if err := f.thread(ask); err != nil {
		return err
	}
	for i, m := range f.rows {
		f.cold[i].ID = m.ID
		f.cold[i].seal(&m)
		f.placed = append(f.placed, Placed{m.Account, m.Mailbox, f.dst.UIDValidity, m.UID, m.ID})
	}
	if err := f.w.PutCold(f.cold); err != nil {
		return err
	}
	f.rows, f.cold, f.keys = nil, nil, nil // what was put is not changed
	return nil
}

// thread writes the rows one after the other, so that one can join the thread
// that another begins.
func (f *filing) thread(ask []ThreadKey) error {
	owner := f.dst.Account
	known, err := f.w.Threads(owner, ask)
	if err != nil {
		return err
	}
	for i := range f.rows {
		m := &f.rows[i]
		for _, k := range f.keys[i] {
			if t, ok := known[k]; ok && m.Thread == 0 {
				m.Thread = t
			}
		}
		if err := f.w.PutMessages(f.rows[i : i+1]); err != nil {
			return err
		}
		if err := f.w.noteThreads(owner, m.Thread, f.keys[i], known); err != nil {
			return err
		}
	}
	return nil
}
