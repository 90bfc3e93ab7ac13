package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

var _ store.Checker = (*Backend)(nil)

// AccountIDs reads the index of accounts.
func (b *Backend) AccountIDs(ctx context.Context, after store.AccountID, max int) (ids []store.AccountID, err error) {
	err = b.db.View(ctx, func(c sqldb.Conn) error {
		ids = nil
		return c.Query(`SELECT id FROM account WHERE id > ? ORDER BY id LIMIT `+strconv.Itoa(max), func(r sqldb.Row) error {
			ids = append(ids, store.AccountID(r.Text(0)))
			return nil
		}, string(after))
	})
	return ids, err
}

// CheckRows looks at what joins the tables.
func (b *Backend) CheckRows(ctx context.Context, repair bool, found func(store.Finding) error) error {
	k := &checker{b: b, repair: repair, found: found}
	for _, step := range []func(context.Context) error{k.nextID, k.accounts, k.owners, k.coldRows, k.placed} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	b      *Backend
	repair bool
	found  func(store.Finding) error
}

func (k *checker) say(repaired bool, state, where, format string, args ...any) error {
	f := store.Finding{State: state, Where: where, Text: fmt.Sprintf(format, args...)}
	if repaired && k.repair {
		f.Done = store.Repaired
	}
	return k.found(f)
}

// update runs fn in a transaction in which nothing is held back.
func (k *checker) update(ctx context.Context, fn func(t *tx) error) error {
	return k.b.Update(ctx, func(t store.Tx) error {
		x := t.(*tx)
		if err := x.flush(); err != nil {
			return err
		}
		return fn(x)
	})
}

// checkRows is how many rows are read in one transaction.
const checkRows = 20_000

// nextID makes sure that no ID is given twice.
func (k *checker) nextID(ctx context.Context) error {
	var next, last int64
	look := func(c sqldb.Conn) error {
		next, last = 0, 0
		get := func(into *int64) func(sqldb.Row) error {
			return func(r sqldb.Row) error {
				*into = max(*into, r.Int(0))
				return nil
			}
		}
		source := `SELECT next FROM counter WHERE name = 'message'`
		if k.b.many != nil {
			source = `SELECT CASE WHEN is_called THEN last_value + 1000 ELSE last_value END FROM message_block`
		}
		if err := c.Query(source, get(&next)); err != nil {
			return err
		}
		if err := c.Query(`SELECT MAX(id) FROM message WHERE dead = 0`, get(&last)); err != nil {
			return err
		}
		return c.Query(`SELECT MAX(id) FROM cold`, get(&last))
	}
	if err := k.b.db.View(ctx, look); err != nil || next > last {
		return err
	}
	if k.repair {
		err := k.update(ctx, func(t *tx) error {
			if err := look(t.c); err != nil || next > last {
				return err
			}
			if t.many != nil {
				return t.many.begin(t.c, last+1)
			}
			t.h.nextID, t.h.lastID = 0, 0 // IDs that were taken ahead
			return t.c.Exec(`INSERT INTO counter (name, next) VALUES ('message', ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next`, last+1)
		})
		if err != nil {
			return err
		}
	}
	return k.say(true, "S12", "message IDs", "the next ID is %d, a message has %d", next, last)
}

// accounts looks for numbers of accounts that have no row. It steps through
// indexes.
func (k *checker) accounts(ctx context.Context) error {
	for _, table := range []string{"mailbox", "message", "object"} {
		for at := int64(-1 << 62); ; {
			num, there := int64(0), true
			err := k.b.db.View(ctx, func(c sqldb.Conn) error {
				num, there = at, false
				err := c.Query(`SELECT acct FROM `+table+` WHERE acct > ? ORDER BY acct LIMIT 1`, func(r sqldb.Row) error {
					num = r.Int(0)
					return nil
				}, at)
				if err != nil {
					return err
				}
				return c.Query(`SELECT num FROM account WHERE num = ?`, func(sqldb.Row) error { there = true; return nil }, num)
			})
			if err != nil {
				return err
			}
			if num == at {
				break
			}
			if at = num; !there {
				if err := k.say(false, "S24", "table "+table, "there are rows of account number %d, whose own row is lost", num); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// owners looks for messages whose account is not that of their mailbox though their
// cold row says that it is.
func (k *checker) owners(ctx context.Context) error {
	boxes, err := k.numbers(ctx, `SELECT id FROM mailbox WHERE id > ? ORDER BY id LIMIT 1000`)
	if err != nil {
		return err
	}
	const wrong = `FROM message WHERE box = ? AND acct <> (SELECT acct FROM mailbox WHERE id = message.box)
		AND dead = 0 AND EXISTS (SELECT 1 FROM cold WHERE cold.id = message.id AND cold.acct = (SELECT acct FROM mailbox WHERE id = message.box))`
	for _, box := range boxes {
		var uids []int64
		err := k.b.db.View(ctx, func(c sqldb.Conn) error {
			uids = nil
			return c.Query(`SELECT uid `+wrong, func(r sqldb.Row) error {
				uids = append(uids, r.Int(0))
				return nil
			}, box)
		})
		if err == nil && k.repair && len(uids) > 0 {
			err = k.update(ctx, func(t *tx) error {
				return t.c.Exec(`UPDATE message SET acct = (SELECT acct FROM mailbox WHERE id = message.box)
					WHERE box = ? AND uid IN (SELECT uid `+wrong+`)`, box, box)
			})
		}
		if err != nil {
			return err
		}
		for _, uid := range uids {
			if err := k.say(true, "S19", fmt.Sprintf("mailbox %d UID %d", box, uid), "its row names another account than its mailbox and its cold row"); err != nil {
				return err
			}
		}
	}
	return nil
}

// numbers reads a column of numbers, 1,000 rows at a time.
func (k *checker) numbers(ctx context.Context, query string) (all []int64, err error) {
	for at := int64(0); ; {
		n := 0
		err := k.b.db.View(ctx, func(c sqldb.Conn) error {
			all, n = all[:len(all)-n], 0
			return c.Query(query, func(r sqldb.Row) error {
				all = append(all, r.Int(0))
				n++
				return nil
			}, at)
		})
		if err != nil || n == 0 {
			return all, err
		}
		at = all[len(all)-1]
	}
}

// maxSuspects bounds the cold rows for which tombstones are looked for at a time.
const maxSuspects = 200_000

// coldRows looks for cold rows that no message has.
func (k *checker) coldRows(ctx context.Context) error {
	var suspects []int64 // have no live message; in order
	for at, n := int64(-1<<62), checkRows; n == checkRows; {
		kept, last := len(suspects), at
		err := k.b.db.View(ctx, func(c sqldb.Conn) error {
			suspects, n, last = suspects[:kept], 0, at
			return c.Query(`SELECT id, CASE WHEN `+liveCold+` THEN 1 ELSE 0 END FROM cold
				WHERE id > ? ORDER BY id LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
				n++
				if last = r.Int(0); r.Int(1) == 0 {
					suspects = append(suspects, last)
				}
				return nil
			}, at)
		})
		if err != nil {
			return err
		}
		if at = last; n < checkRows || len(suspects) >= maxSuspects {
			if err := k.orphanCold(ctx, suspects); err != nil {
				return err
			}
			suspects = suspects[:0]
		}
	}
	return nil
}

// liveCold says of a cold row that its message is live.
const liveCold = `EXISTS (SELECT 1 FROM message WHERE message.id = cold.id AND message.dead = 0)`

// orphanCold tells of those cold rows that have no tombstone either. Nothing gives a
// row to an ID that has none, so what is an orphan stays one.
func (k *checker) orphanCold(ctx context.Context, suspects []int64) error {
	if len(suspects) == 0 {
		return nil
	}
	var orphans []int64
	err := k.b.db.View(ctx, func(c sqldb.Conn) error {
		// Tombstones have no index by ID, so they are all read.
		buried := make([]bool, len(suspects))
		err := c.Query(`SELECT id FROM message WHERE dead <> 0`, func(r sqldb.Row) error {
			if i, ok := slices.BinarySearch(suspects, r.Int(0)); ok {
				buried[i] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		var left []int64
		for i, id := range suspects {
			if !buried[i] {
				left = append(left, id)
			}
		}
		orphans = nil // those that were not forgotten since they were seen
		return sqldb.In(left, func(id int64) any { return id }, func(places string, args []any) error {
			return c.Query(`SELECT id FROM cold WHERE id IN `+places+` AND NOT `+liveCold, func(r sqldb.Row) error {
				orphans = append(orphans, r.Int(0))
				return nil
			}, args...)
		})
	})
	if err == nil && k.repair && len(orphans) > 0 {
		err = k.update(ctx, func(t *tx) error {
			return sqldb.In(orphans, func(id int64) any { return id }, func(places string, args []any) error {
				return t.c.Exec(`DELETE FROM cold WHERE id IN `+places+` AND NOT `+liveCold, args...)
			})
		})
	}
	if err != nil {
		return err
	}
	for _, id := range orphans {
		if err := k.say(true, "S23", fmt.Sprintf("message %d", id), "a cold row has no message"); err != nil {
			return err
		}
	}
	return nil
}

// placed compares what was noted of deliveries with the mailboxes they went to.
func (k *checker) placed(ctx context.Context) error {
	type key struct {
		key           string
		idx, action   int64
		box, uid, nxt int64
	}
	at := key{idx: -1 << 62}
	for n := checkRows; n == checkRows; {
		var behind, lost []key
		last := at
		err := k.b.db.View(ctx, func(c sqldb.Conn) error {
			behind, lost, n, last = nil, nil, 0, at
			return c.Query(`SELECT p.key, p.idx, p.action, p.box, p.uid, b.uidnext,
				CASE WHEN b.id IS NOT NULL AND a.horizon = 0 AND a.deleted = 0
					AND NOT EXISTS (SELECT 1 FROM message m WHERE m.box = p.box AND m.uid = p.uid) THEN 1 ELSE 0 END
				FROM placed p LEFT JOIN mailbox b ON b.id = p.box AND b.acct = p.acct AND b.uidvalidity = p.uidvalidity AND b.deleted = 0
				LEFT JOIN account a ON a.num = p.acct
				WHERE (p.key, p.idx, p.action) > (?, ?, ?) ORDER BY p.key, p.idx, p.action LIMIT `+strconv.Itoa(checkRows), func(r sqldb.Row) error {
				last = key{r.Text(0), r.Int(1), r.Int(2), r.Int(3), r.Int(4), r.Int(5)}
				if n++; !r.IsNull(5) && last.uid >= last.nxt {
					behind = append(behind, last)
				}
				if r.Int(6) != 0 {
					lost = append(lost, last)
				}
				return nil
			}, at.key, at.idx, at.action)
		})
		if err != nil {
			return err
		}
		at = last
		for _, p := range behind {
			if k.repair {
				err := k.update(ctx, func(t *tx) error {
					mb, err := t.Mailbox(store.MailboxID(p.box))
					if err == nil {
						if _, err = t.Accounts(mb.Account); err == nil { // locked from here on
							mb, err = t.Mailbox(mb.ID)
						}
					}
					if err != nil {
						return err
					}
					mb.UIDNext = max(mb.UIDNext, store.UID(p.uid)+1)
					return t.PutMailbox(&mb)
				})
				if err != nil {
					return err
				}
			}
			if err := k.say(true, "S12", fmt.Sprintf("mailbox %d", p.box), "UIDNEXT is %d, a delivery was noted under UID %d", p.nxt, p.uid); err != nil {
				return err
			}
		}
		for _, p := range lost {
			if k.repair {
				err := k.update(ctx, func(t *tx) error {
					return t.c.Exec(`DELETE FROM placed WHERE key = ? AND idx = ? AND action = ?`, p.key, p.idx, p.action)
				})
				if err != nil {
					return err
				}
			}
			err := k.say(true, "S25", fmt.Sprintf("mailbox %d UID %d", p.box, p.uid), "the delivery of %s is noted, but its message has no row", p.key)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
