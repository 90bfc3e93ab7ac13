package trgmindex

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
	"github.com/mailkeel/mailkeel/store/search"
)

// short is how many characters a text must have for trigrams to help.
const short = 3

// maxText bounds a text that is looked for, in bytes.
const maxText = 4 << 10

// Each text is planned for, since how many rows have it differs by orders of magnitude.
// PostgreSQL believes that to compare a text costs as much as a number, and that a row
// is all on its page. It is told what a text costs that must be fetched, or it would
// rather compare all there are. One search has one processor.
const planning = `SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('cpu_operator_cost', '0.25', true),
	set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)`

const (
	inRange = ` FROM search_doc WHERE box = ? AND uid >= ? AND uid <= ?`

	findKnown  = `SELECT uid, vague` + inRange + ` ORDER BY uid`
	findNamed  = `SELECT uid` + inRange + ` AND strpos(fields, ?) > 0`
	findField  = findNamed + ` AND fields LIKE ? AND split_part(split_part(fields, ?, 2), ?, 1) LIKE ?`
	findHeader = `SELECT uid` + inRange + ` AND header LIKE ?`
	findBody   = `SELECT uid` + inRange + ` AND body LIKE ?`
)

// Find answers exactly, but for messages whose texts are not kept.
func (x *Index) Find(ctx context.Context, account store.AccountID, q search.Query) (a search.Answer, err error) {
	if q.Last == 0 {
		q.Last = 1<<32 - 1
	}
	query, args, vague, ok := statement(&q)
	if !ok {
		return a, search.ErrNoAnswer
	}
	where := []any{int64(q.Mailbox), int64(q.First), int64(q.Last)}
	err = x.db.View(ctx, func(c sqldb.Conn) error {
		a = search.Answer{}
		if ok, err := owns(c, account, q.Mailbox); err != nil || !ok {
			return cmp.Or(err, search.ErrNoAnswer)
		}
		err := c.Query(findKnown, func(r sqldb.Row) error {
			uid := store.UID(r.Int(0))
			if a.Known = append(a.Known, uid); r.Int(1)&vague != 0 {
				a.Maybe = append(a.Maybe, uid)
			}
			return nil
		}, where...)
		if err != nil {
			return err
		}
		if err := sqldb.Later(c, planning); err != nil {
			return err
		}
		// No vague row is among these: what it lacks is empty.
		err = c.Query(query, func(r sqldb.Row) error {
			a.Sure = append(a.Sure, store.UID(r.Int(0)))
			return nil
		}, slices.Concat(where, args)...)
		slices.Sort(a.Sure)
		return err
	})
	return a, err
}

// statement returns the one that finds messages, its arguments behind the range, and
// which vague messages must be read. ok is false if it had better not be asked.
func statement(q *search.Query) (query string, args []any, vague int64, ok bool) {
	if len(q.Text) > maxText || !plain(q.Text) || !plain(q.Field) {
		return "", nil, 0, false
	}
	if q.Where == search.Field {
		if strings.Contains(q.Field, ":") {
			return "", nil, 0, false
		}
		name := line + q.Field + ":"
		if q.Text == "" {
			return findNamed, []any{name}, vagueFields, true
		}
		like := pattern(q.Text)
		return findField, []any{name, like, name, line, like}, vagueFields, true
	}
	if utf8.RuneCountInString(q.Text) < short {
		return "", nil, 0, false
	}
	if q.Where == search.Header {
		return findHeader, []any{pattern(q.Text)}, vagueHeader, true
	}
	return findBody, []any{pattern(q.Text)}, vagueBody, true
}

// owns reports whether a mailbox is one of an account that is indexed.
func owns(c sqldb.Conn, account store.AccountID, box store.MailboxID) (ok bool, err error) {
	err = c.Query(`SELECT 1 FROM search_box b JOIN search_account a ON a.num = b.acct WHERE b.id = ? AND a.id = ? AND a.start > 0`, func(sqldb.Row) error {
		ok = true
		return nil
	}, int64(box), string(account))
	return ok, err
}
