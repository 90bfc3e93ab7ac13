package store

// A filing puts new messages into one mailbox of a locked account.
type filing struct {
	w     *work
	dst   *workBox
	limit int64
	rows  []Message
	cold  []Cold
	keys  [][]ThreadKey
}

// add takes a message that has Flags, Received, Blob, Size and perhaps a Thread.
// ErrOverQuota and ErrLimit leave the filing as it was.
func (f *filing) add(m Message, c Cold) (err error) {
	w, dst := f.w, f.dst
	if err := w.room(dst.Account, f.limit, m.Size); err != nil {
		return err
	}
	if m.Flags, err = w.spell(dst, m.Flags); err != nil {
		return err
	}
	if m.UID, err = dst.nextUID(); err != nil {
		return err
	}
	seq := w.seq(dst)
	m.ID, m.Account, m.Mailbox = 0, dst.Account, dst.ID
	m.Created, m.Added, m.ModSeq = seq, seq, seq
	if m.Saved = w.now; m.Received.IsZero() {
		m.Received = w.now
	}
	c.Account, c.ID = dst.Account, 0
	w.add(dst, &m, 1)
	f.rows, f.cold = append(f.rows, m), append(f.cold, c)
	return nil
}

// put writes all that was added; their IDs are then in rows.
func (f *filing) put() error {
	if len(f.rows) == 0 {
		return nil
	}
	if err := f.w.PutMessages(f.rows); err != nil {
		return err
	}
	for i := range f.cold {
		f.cold[i].ID = f.rows[i].ID
	}
	return f.w.PutCold(f.cold)
}
