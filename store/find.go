package store

import "slices"

// all returns the live messages of a mailbox.
func all(tx Tx, id MailboxID) (ms []Message, err error) {
	for m, err := range tx.Messages(id, Query{}) {
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// findGap is how many rows are read for nothing rather than asking again.
const findGap = 64

// find returns the messages among uids that want picks, in order of UID.
func find(tx Tx, id MailboxID, uids []UID, since Since, want func(*Message) bool) (ms []Message, err error) {
	uids = slices.Compact(slices.Sorted(slices.Values(uids)))
	if len(uids) > 0 && uids[0] == 0 { // no message has it
		uids = uids[1:]
	}
	if since == (Since{}) && len(uids) <= maxRecall {
		if ms, ok := recall(tx, id, uids); ok {
			if want != nil {
				ms = slices.DeleteFunc(ms, func(m Message) bool { return !want(&m) })
			}
			return ms, nil
		}
	}
	for len(uids) > 0 {
		n := 1
		for n < len(uids) && uids[n]-uids[n-1] <= findGap {
			n++
		}
		run := uids[:n]
		uids = uids[n:]
		for m, err := range tx.Messages(id, Query{Since: since, First: run[0], Last: run[n-1]}) {
			if err != nil {
				return nil, err
			}
			if _, ok := slices.BinarySearch(run, m.UID); ok && (want == nil || want(&m)) {
				ms = append(ms, m)
			}
		}
	}
	return ms, nil
}

// maxRecall is up to how many messages the backend is asked whether it remembers them.
const maxRecall = 16

// recall returns messages if the backend remembers all of them.
func recall(tx Tx, id MailboxID, uids []UID) ([]Message, bool) {
	if w, ok := tx.(*work); ok {
		tx = w.Tx
	}
	if r, ok := tx.(Recalling); ok && len(uids) > 0 {
		return r.Recall(id, uids)
	}
	return nil, false
}
