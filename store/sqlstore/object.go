package sqlstore

import (
	"iter"

	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/store"
)

// readObjects is how many objects are read ahead. They may be large.
const (
	readObjects     = 100
	readObjectsText = "100"
)

func (t *tx) Objects(id store.AccountID, q store.ObjectQuery) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		a, err := t.account(id)
		if err != nil {
			yield(store.Object{}, err)
			return
		}
		if a == nil {
			return
		}
		var batch []store.Object
		at, from := store.Object{Kind: q.Kind}, `>=`
		for {
			query, args := objectQuery(a.num, q, from)
			batch = batch[:0]
			err := t.c.Query(query, func(r sqldb.Row) error {
				o := store.Object{
					Account: id, Kind: r.Text(0), ID: r.Text(1), ModSeq: store.ModSeq(r.Int(2)), Deleted: r.Int(3) != 0, Data: r.Bytes(5),
				}
				if !r.IsNull(4) {
					o.Blob = unpackRef(r.Bytes(4))
				}
				batch = append(batch, o)
				return nil
			}, append(args, at.Kind, at.ID)...)
			if err != nil {
				yield(store.Object{}, err)
				return
			}
			if !each(batch, yield) || len(batch) < readObjects {
				return
			}
			at, from = batch[len(batch)-1], `>`
		}
	}
}

// objectQuery lacks the arguments for where to begin.
func objectQuery(acct int64, q store.ObjectQuery, from string) (string, []any) {
	query, args := `SELECT kind, id, modseq, deleted, blob, data FROM object WHERE acct = ?`, []any{acct}
	if !q.Tombstones {
		query += ` AND deleted = 0`
	}
	if q.Kind != "" {
		query += ` AND kind = ?`
		args = append(args, q.Kind)
		if q.ID != "" {
			query += ` AND id = ?`
			args = append(args, q.ID)
		}
	}
	if q.After > 0 {
		query += ` AND modseq > ?`
		args = append(args, int64(q.After))
		if q.Kind == "" {
			// Little has changed, as a rule. The expression keeps the planner from
			// walking through all that there is.
			return query + ` AND (kind || '', id) ` + from + ` (?, ?) ORDER BY kind || '', id LIMIT ` + readObjectsText, args
		}
	}
	return query + ` AND (kind, id) ` + from + ` (?, ?) ORDER BY kind, id LIMIT ` + readObjectsText, args
}

func (t *tx) PutObject(o store.Object) error {
	if t.h == nil {
		return errReadOnly
	}
	a, err := t.madeAccount(o.Account)
	if err != nil {
		return err
	}
	var ref []byte
	if o.Blob != "" {
		ref = packRef(o.Blob)
	}
	return sqldb.Later(t.c, `INSERT INTO object (acct, kind, id, modseq, deleted, blob, data) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (acct, kind, id) DO UPDATE SET modseq = excluded.modseq, deleted = excluded.deleted,
		blob = excluded.blob, data = excluded.data`,
		a.num, o.Kind, o.ID, int64(o.ModSeq), o.Deleted, ref, o.Data)
}
